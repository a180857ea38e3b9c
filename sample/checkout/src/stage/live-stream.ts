import type { ServerResponse } from 'node:http';

const KEEP_ALIVE = 15_000;

/** Server-sent events: the same for everybody who watches. */
export class LiveStream {
  private readonly watchers = new Set<ServerResponse>();

  get watched(): boolean {
    return this.watchers.size > 0;
  }

  /** `greeting`: what a newcomer has to know, by event name. */
  join(response: ServerResponse, greeting: Record<string, unknown>): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write('retry: 1000\n\n');
    for (const [name, data] of Object.entries(greeting)) response.write(frame(name, data));
    const timer = setInterval(() => response.write(': still here\n\n'), KEEP_ALIVE);
    this.watchers.add(response);
    response.once('close', () => {
      clearInterval(timer);
      this.watchers.delete(response);
    });
  }

  send(name: string, data: unknown): void {
    const text = frame(name, data);
    for (const watcher of this.watchers) watcher.write(text);
  }

  close(): void {
    for (const watcher of this.watchers) watcher.end();
  }
}

function frame(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
