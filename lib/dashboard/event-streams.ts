import type { ServerResponse } from 'node:http';
import type { ActivityMemory, Change } from './activity.js';
import { DashboardError } from './dashboard-error.js';
import type { HelloEvent, TickEvent } from './contract.js';

/** How many pages may listen to one process. Each holds a connection. */
const MOST_STREAMS = 50;

const TICK_MS = 1_000;
const HEARTBEAT_MS = 15_000;

/** A stream ends after so long, and the page asks for another one: the application's guards decide again. */
const LIFETIME_MS = 300_000;

/** What a client may leave unread, in bytes, before its stream is ended. */
const MOST_UNREAD = 65_536;

const MOST_RECORDS = 50;
/** Beyond that, records are no longer distinguished. */
const MOST_CHANGED = 1_000;

export const EVENTS_TYPE = 'text/event-stream; charset=utf-8';

const HEADERS = {
  'Content-Type': EVENTS_TYPE,
  // `no-transform` keeps compression from holding events back, and `X-Accel-Buffering` nginx.
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** Sends what happens in this process to the pages that listen, once a second: a busy process has thousands of events. */
export class EventStreams {
  private readonly streams = new Set<ServerResponse>();
  private readonly changed = new Map<string, Change>();
  private more = 0;
  private lastTick = Date.now();
  private lastSent = Date.now();
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(private readonly memory: ActivityMemory) {}

  /** @throws DashboardError where there are too many, or the application ends */
  assertRoom(): void {
    if (this.isClosed) throw new DashboardError('too-many-clients', 'The application is shutting down');
    if (this.streams.size < MOST_STREAMS) return;
    throw new DashboardError('too-many-clients', `${MOST_STREAMS} pages listen to this process already`);
  }

  /** Writes to node's own response: what interceptors of the application do to streams of events is not for this one. */
  open(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    // Gone while a guard decided: its `close` has been, and does not come again.
    if (response.destroyed) return;
    response.writeHead(200, { ...headers, ...HEADERS });
    const hello: HelloEvent = { now: new Date().toISOString() };
    response.write(`retry: 3000\n\n${eventOf('hello', hello)}`);
    this.streams.add(response);
    const leave = () => {
      clearTimeout(lifetime);
      if (this.streams.delete(response) && this.streams.size === 0) this.rest();
    };
    const lifetime = setTimeout(() => {
      // A client that does not read keeps the end from being sent, and `close` from coming.
      leave();
      response.end();
    }, LIFETIME_MS).unref();
    response.once('close', leave);
    response.on('error', () => response.destroy());
    this.memory.onChange ??= (change) => this.note(change);
    this.timer ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  note(change: Change): void {
    if (this.streams.size === 0) return;
    if (this.changed.has(change.id) || this.changed.size < MOST_CHANGED) this.changed.set(change.id, change);
    else this.more++;
  }

  close(): void {
    this.isClosed = true;
    for (const stream of this.streams) stream.end();
    this.rest();
  }

  private rest(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.memory.onChange = undefined;
    this.changed.clear();
    this.more = 0;
  }

  private tick(): void {
    const now = Date.now();
    const since = this.lastTick;
    this.lastTick = now;
    if (this.changed.size === 0) {
      if (now - this.lastSent >= HEARTBEAT_MS) this.send(': heartbeat\n\n');
      return;
    }
    const changes = [...this.changed.values()];
    const tick: TickEvent = {
      now: new Date(now).toISOString(),
      totals: this.memory.counts(),
      buckets: this.memory.bucketsSince(since),
      records: changes.slice(-MOST_RECORDS),
      more: Math.max(0, changes.length - MOST_RECORDS) + this.more,
    };
    this.changed.clear();
    this.more = 0;
    this.send(eventOf('tick', tick));
  }

  private send(text: string): void {
    this.lastSent = Date.now();
    for (const stream of this.streams) {
      if (stream.writableLength > MOST_UNREAD) stream.destroy();
      else stream.write(text);
    }
  }
}

function eventOf(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
