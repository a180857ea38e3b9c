import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { ActivityMemory, Change } from './activity.js';
import { DashboardError } from './dashboard-error.js';
import type { HelloEvent, TickEvent } from './contract.js';

/** How many pages may listen to one process. Each holds a connection. */
const MAX_STREAMS = 50;

const TICK_MS = 1_000;
const HEARTBEAT_MS = 15_000;

/** A stream ends after this time and the page opens another one, so that guards refuse an operator whose session has ended. */
const LIFETIME_MS = 300_000;

/** A client that has more than this unread is disconnected: it would fill the memory of the process. */
const MAX_UNREAD_BYTES = 65_536;

/** How many records a tick names. */
const MAX_RECORDS = 50;
/** How many records are distinguished between two ticks. Further ones are only counted. */
const MAX_CHANGED = 1_000;

export const EVENTS_TYPE = 'text/event-stream; charset=utf-8';

const HEADERS = {
  'Content-Type': EVENTS_TYPE,
  // Otherwise compression and nginx would hold events back: `no-transform`, `X-Accel-Buffering`.
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/** Sends the changes of this process to the pages that listen. Once a second, because a busy process has thousands of events. */
export class EventStreams {
  private readonly streams = new Set<ServerResponse>();
  private readonly changed = new Map<string, Change>();
  private more = 0;
  private lastTick = Date.now();
  /** By `performance.now()`: a clock that is set back would keep heartbeats from proxies, which close idle connections. */
  private lastSent = performance.now();
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(private readonly memory: ActivityMemory) {}

  /** @throws DashboardError if there are too many streams, or the application is shutting down */
  assertRoom(): void {
    if (this.isClosed) throw new DashboardError('too-many-clients', 'The application is shutting down');
    if (this.streams.size < MAX_STREAMS) return;
    throw new DashboardError('too-many-clients', `${MAX_STREAMS} pages listen to this process already`);
  }

  /** Writes to Node's own response, so that interceptors of the application do not change the stream. */
  open(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    // The client went away while a guard decided. `close` was emitted before, and the stream would never be removed.
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
      // Not at `close`: with a client that does not read, the end is never sent, and `close` never emitted.
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
    if (this.changed.has(change.id) || this.changed.size < MAX_CHANGED) this.changed.set(change.id, change);
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
      if (performance.now() - this.lastSent >= HEARTBEAT_MS) this.send(': heartbeat\n\n');
      return;
    }
    const changes = [...this.changed.values()];
    const tick: TickEvent = {
      now: new Date(now).toISOString(),
      totals: this.memory.counts(),
      buckets: this.memory.bucketsSince(since),
      records: changes.slice(-MAX_RECORDS),
      more: Math.max(0, changes.length - MAX_RECORDS) + this.more,
    };
    this.changed.clear();
    this.more = 0;
    this.send(eventOf('tick', tick));
  }

  private send(text: string): void {
    this.lastSent = performance.now();
    for (const stream of this.streams) {
      if (stream.writableLength > MAX_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }
}

function eventOf(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
