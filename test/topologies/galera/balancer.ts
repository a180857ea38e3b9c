import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GaleraNode } from './galera.js';

/** How often nodes are asked whether they take statements, in milliseconds. */
const CHECK_EVERY = 300;
/** A node that has not answered within so many milliseconds counts as gone. */
const CHECK_FOR = 3_000;

/**
 * An address in front of the nodes, as HAProxy with `clustercheck` makes it: new connections lead to nodes that take statements, and
 * those to a node that no longer does are closed.
 */
export class Balancer {
  private readonly links = new Map<GaleraNode, Set<Socket>>();
  private readonly down = new Set<GaleraNode>();
  private readonly server: Server;
  private turn = 0;
  private closed = false;

  /**
   * @param nodes in order of preference
   * @param how `'first'`: to the first node that is well; `'in turn'`: each connection to another one
   */
  private constructor(
    private nodes: readonly GaleraNode[],
    private readonly how: 'first' | 'in turn',
  ) {
    this.server = createServer({ noDelay: true }, (client) => this.accept(client));
    for (const node of nodes) {
      this.links.set(node, new Set());
      void this.watch(node);
    }
  }

  static async listen(nodes: readonly GaleraNode[], how: 'first' | 'in turn'): Promise<Balancer> {
    const balancer = new Balancer(nodes, how);
    balancer.server.listen(0, '127.0.0.1');
    await once(balancer.server, 'listening');
    return balancer;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Moves all connections, open ones too, as an operator does who drains a node. */
  prefer(...nodes: readonly GaleraNode[]): void {
    const left = this.nodes.filter((node) => !nodes.includes(node));
    this.nodes = [...nodes, ...left];
    for (const node of left) this.cut(node);
  }

  close(): void {
    this.closed = true;
    this.server.close();
    for (const node of this.nodes) this.cut(node);
  }

  private cut(node: GaleraNode): void {
    for (const socket of this.links.get(node)!) socket.destroy();
  }

  private accept(client: Socket): void {
    client.on('error', () => undefined);
    const well = this.nodes.filter((node) => !this.down.has(node));
    const node = this.how === 'first' ? well[0] : well[this.turn++ % well.length];
    if (!node) return void client.destroy();
    const server = connect({ host: node.host, port: node.port, noDelay: true });
    server.on('error', () => undefined);
    const links = this.links.get(node)!;
    links.add(client);
    client.pipe(server).pipe(client);
    client.once('close', () => {
      links.delete(client);
      server.destroy();
    });
    server.once('close', () => client.destroy());
  }

  private async watch(node: GaleraNode): Promise<void> {
    while (!this.closed) {
      const ready = node.status('wsrep_ready').catch(() => 'OFF');
      const isWell = (await Promise.race([ready, sleep(CHECK_FOR, 'OFF', { ref: false })])) === 'ON';
      if (isWell) this.down.delete(node);
      else {
        this.down.add(node);
        this.cut(node);
      }
      await sleep(CHECK_EVERY, undefined, { ref: false });
    }
  }
}
