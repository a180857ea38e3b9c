import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FaultSite } from './points.js';

/** A request that is being answered, and whom to tell of its answer, once it runs a record. */
interface Exchange {
  readonly response: ServerResponse;
  reach?: Reach;
}

/** Called before and after a response leaves. Nothing to wait for: `undefined`. */
export type Reach = (site: Pick<FaultSite, 'point' | 'hangUp'>) => Promise<void> | undefined;

/** The HTTP requests that are under way, seen at node's own server, before any framework. */
export class Exchanges {
  private readonly open = new Set<Exchange>();
  private readonly storage = new AsyncLocalStorage<Exchange>();

  listen(server: Server): void {
    server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => this.enter(response));
  }

  /** Notes that the request at hand runs a record. */
  runs(reach: Reach): void {
    const exchange = this.storage.getStore();
    if (exchange) exchange.reach = reach;
  }

  /** Breaks the connections of all clients that wait for an answer. */
  hangUp(): void {
    for (const { response } of this.open) response.socket?.destroy();
  }

  private enter(response: ServerResponse): void {
    const exchange: Exchange = { response };
    this.open.add(exchange);
    response.once('close', () => this.open.delete(exchange));
    const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
    response.end = ((...args: unknown[]) => {
      const hangUp = () => void response.socket?.destroy();
      const passed = exchange.reach?.({ point: 'before send', hangUp });
      const send = () => {
        response.once('finish', () => void exchange.reach?.({ point: 'after send', hangUp }));
        end(...args);
      };
      if (passed) void passed.then(send);
      else send();
      return response;
    }) as ServerResponse['end'];
    // Whatever handles this request runs in what follows.
    this.storage.enterWith(exchange);
  }
}
