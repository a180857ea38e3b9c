import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FaultSite } from './points.js';

/** A request that is being answered, and what to call around its response once it runs a record. */
interface Exchange {
  readonly response: ServerResponse;
  reach?: Reach;
}

/** Called before and after a response leaves. Returns `undefined` where nothing delays the response. */
type Reach = (site: Pick<FaultSite, 'point' | 'hangUp'>) => Promise<void> | undefined;

/** The HTTP requests under way, observed at Node's server before any framework. */
export class Exchanges {
  private readonly open = new Set<Exchange>();
  private readonly storage = new AsyncLocalStorage<Exchange>();

  listen(server: Server): void {
    server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => this.enter(response));
  }

  /** Calls `reach` around the response of the current request, which runs a record. */
  runs(reach: Reach): void {
    const exchange = this.storage.getStore();
    if (exchange) exchange.reach = reach;
  }

  /** Breaks the connections of all clients that wait for a response. */
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
    // The listeners that handle this request inherit the context.
    this.storage.enterWith(exchange);
  }
}
