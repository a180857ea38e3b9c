import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../history/log.js';
import { Random } from './random.js';

/** A payment provider with idempotency keys of its own, which is slow, and forgets to answer. */
export class Provider {
  private readonly charges = new Map<string, { id: string }>();
  private readonly server: Server;
  /** Whether it still is difficult. */
  difficult = true;

  private log: Log | undefined;
  private random = new Random('');

  constructor() {
    this.server = createServer((request, response) => void this.serve(request, response));
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Another run begins. */
  begin(log: Log, random: Random): void {
    this.log = log;
    this.random = random;
    this.charges.clear();
    this.difficult = true;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.happens(0.1)) await sleep(this.random.between(50, 900));
    if (request.method === 'GET') {
      const charge = this.charges.get(request.url!.split('/').at(-1)!);
      response.statusCode = charge ? 200 : 404;
      response.end(JSON.stringify(charge ?? {}));
      return;
    }
    if (this.happens(0.05)) return void request.socket.destroy();
    const { key, op } = JSON.parse(Buffer.concat(chunks).toString()) as { key: string; op: string };
    const known = this.charges.get(key);
    const charge = known ?? { id: randomUUID() };
    this.charges.set(key, charge);
    this.log?.say({ kind: 'charge', op, key, first: !known });
    if (this.happens(0.1)) return void request.socket.destroy();
    response.end(JSON.stringify(charge));
  }

  private happens(probability: number): boolean {
    return this.difficult && this.random.chance(probability);
  }
}
