import { type NestInterceptor, RequestTimeoutException } from '@nestjs/common';
import { defer, delay, first, interval, mergeMap, type Observable, raceWith, throwError } from 'rxjs';

/** Handlers that run until a test lets them end. */
export const late = {
  begun: 0,
  running: 0,
  gate: Promise.resolve(),
  release: () => {},
  hold() {
    this.gate = new Promise((resolve) => (this.release = resolve));
  },
  async run(): Promise<void> {
    this.begun++;
    this.running++;
    await this.gate.finally(() => this.running--);
  },
};

/** Emits soon after the handler has begun, however long a busy machine takes to come to that. */
export const soonAfter = (hasBegun: () => boolean) => interval(5).pipe(first(hasBegun), delay(20));
export const begins = defer(() => {
  const { begun } = late;
  return soonAfter(() => late.begun > begun);
});

export const givingUp = (when: Observable<unknown>): NestInterceptor => ({
  intercept: (_context, next) =>
    next.handle().pipe(raceWith(when.pipe(mergeMap(() => throwError(() => new RequestTimeoutException()))))),
});
