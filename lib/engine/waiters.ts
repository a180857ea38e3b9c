/** Requests that wait for one event, each for a limited time. */
export class Waiters {
  private readonly waiting = new Set<() => void>();

  /** Resolves at the next {@link wakeAll}, or after `ms` milliseconds. Without `ms`, only `wakeAll` ends the wait. */
  wait(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(wake, ms);
      this.waiting.add(wake);
    });
  }

  wakeAll(): void {
    for (const wake of this.waiting) wake();
  }
}
