import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { call } from '../../support/http-client.js';
import { now } from './clock.js';
import type { Run } from './order.js';

/** Something that happened outside of the database. */
export interface Happening extends Run {
  /** `effect` and `mail` have no key of their own; a `charge` has; `mail done`: its step is acknowledged as recorded. */
  readonly what: 'effect' | 'mail' | 'mail done' | 'charge';
  readonly at: number;
}

interface ChargeRequest {
  readonly run: Run;
  readonly what: Happening['what'];
  readonly key?: string;
}

/** A payment provider and a mail server, outside of the database: remembers everything that it is asked for. */
export class Provider {
  readonly happenings = new Map<string, Happening[]>();
  private readonly charges = new Map<string, { id: string }>();
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => void this.serve(request, response));
  }

  static async listen(): Promise<Provider> {
    const provider = new Provider();
    provider.server.listen(0, '127.0.0.1');
    await once(provider.server, 'listening');
    return provider;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { run, what, key } = JSON.parse(Buffer.concat(chunks).toString()) as ChargeRequest;
    response.end(JSON.stringify(request.url === '/find' ? this.find(key!) : this.happen(run, what, key)));
  }

  private find(key: string): object {
    return this.charges.get(key) ?? {};
  }

  private happen(run: Run, what: Happening['what'], key?: string): { id: string } {
    const known = key === undefined ? undefined : this.charges.get(key);
    if (known) return known;
    const made = { id: randomUUID() };
    if (key !== undefined) this.charges.set(key, made);
    const all = this.happenings.get(run.op) ?? [];
    this.happenings.set(run.op, all);
    all.push({ ...run, what, at: now() });
    return made;
  }
}

/** The provider, as applications see it. */
export class ProviderClient {
  constructor(private readonly url: string) {}

  effect(run: Run, what: 'effect' | 'mail'): Promise<{ id: string }> {
    return this.ask('/', { run, what });
  }

  charge(run: Run, key: string): Promise<{ id: string }> {
    return this.ask('/', { run, what: 'charge', key });
  }

  async find(key: string): Promise<{ id: string } | undefined> {
    const found = await this.ask('/find', { key });
    return 'id' in found ? found : undefined;
  }

  /** Notes that a step was acknowledged as recorded: it must not run again. */
  async done(run: Run, what: 'mail'): Promise<void> {
    await this.ask('/', { run, what: `${what} done` });
  }

  private async ask(path: string, body: object): Promise<{ id: string }> {
    return JSON.parse((await call(`${this.url}${path}`, { body })).body) as { id: string };
  }
}
