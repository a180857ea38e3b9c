import { TcpProxy } from '../../support/proxy.js';
import type { Servers } from './servers.js';

/** What one application's connections go through. */
export interface Links {
  readonly database: TcpProxy;
  readonly redis: readonly TcpProxy[];
}

/** Proxies between each application and each server. */
export class Network {
  private constructor(readonly links: readonly Links[]) {}

  /** @param nodes how many of the Redis nodes the applications are to use */
  static async connect(apps: number, { database, redis }: Servers, nodes: number): Promise<Network> {
    const links: Links[] = [];
    for (let i = 0; i < apps; i++) {
      const lines: TcpProxy[] = [];
      for (const node of redis.slice(0, nodes)) lines.push(await TcpProxy.listen(node.port));
      links.push({ database: await TcpProxy.listen(database.port), redis: lines });
    }
    return new Network(links);
  }

  async heal(): Promise<void> {
    for (const { database, redis } of this.links) {
      for (const proxy of [database, ...redis]) {
        proxy.blackhole(false);
        proxy.delay(0);
        proxy.cutAfterRequest(0);
        await proxy.refuse(false);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.links.flatMap(({ database, redis }) => [database, ...redis].map((proxy) => proxy.close())));
  }
}
