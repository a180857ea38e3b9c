import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.mjs';

const HOST = '127.0.0.1';

/** A TCP proxy in front of a server, to do to connections what networks do. */
export class TcpProxy {
  readonly #links = new Set<Link>();
  #server: Server | undefined;
  #delay = 0;
  #requestsUntilCut = 0;
  #counted = '';
  #healed: Promise<void> | undefined;
  #heal: () => void = () => undefined;

  private constructor(
    readonly port: number,
    private targetPort: number,
    private readonly targetHost: string,
  ) {}

  static async listen(targetPort: number, targetHost = HOST): Promise<TcpProxy> {
    const proxy = new TcpProxy(await freePort(), targetPort, targetHost);
    await proxy.refuse(false);
    return proxy;
  }

  /** How many connections the proxy holds. */
  get connections(): number {
    return this.#links.size;
  }

  /** Leads new connections to another server, as a virtual address does after a failover. Open ones stand, see `cut`. */
  retarget(port: number): void {
    this.targetPort = port;
  }

  /** Holds back whatever is sent, both ways, for this long. */
  delay(ms: number): void {
    this.#delay = ms;
  }

  /** Breaks the open connections. New ones are let through. */
  cut(): void {
    for (const link of this.#links) link.break();
  }

  /** Drops all that comes over the open connections, as a gateway does that has forgotten them. New ones are let through. */
  forget(): void {
    for (const link of this.#links) link.forget();
  }

  /**
   * Forwards so many chunks from clients and breaks the connection of the last when its answer comes: the server has
   * acted, the client gets no answer.
   *
   * @param text counts only chunks that hold it, such as `COMMIT`
   */
  cutAfterRequest(requests = 1, text = ''): void {
    this.#requestsUntilCut = requests;
    this.#counted = text;
  }

  /** Lets connections stand and nothing pass; what was sent meanwhile arrives when this is switched off. */
  blackhole(on: boolean): void {
    if (on) {
      this.#healed ??= new Promise((resolve) => (this.#heal = resolve));
    } else {
      this.#healed = undefined;
      this.#heal();
    }
  }

  /** Refuses new connections. Open ones stand, see `cut`. */
  async refuse(on: boolean): Promise<void> {
    if (on) {
      this.#server?.close();
      this.#server = undefined;
    } else if (!this.#server) {
      this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => void this.#accept(client));
      this.#server.listen(this.port, HOST);
      await once(this.#server, 'listening');
    }
  }

  async close(): Promise<void> {
    await this.refuse(true);
    this.blackhole(false);
    this.cut();
  }

  async #accept(client: Socket): Promise<void> {
    const link = new Link(
      client,
      () => this.#gate(),
      (chunk) => this.#isLastRequest(chunk),
    );
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
    await this.#gate();
    link.connect(this.targetPort, this.targetHost);
  }

  #isLastRequest(chunk: Buffer): boolean {
    return this.#requestsUntilCut > 0 && chunk.includes(this.#counted) && --this.#requestsUntilCut === 0;
  }

  /** Resolves when what is sent now may pass. */
  async #gate(): Promise<void> {
    const due = Date.now() + this.#delay;
    while (this.#healed) await this.#healed;
    const wait = due - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** A client's connection to the proxy and the proxy's to the server. */
class Link {
  readonly closed: Promise<void>;
  #markClosed: () => void = () => undefined;
  #server: Socket | undefined;
  #broken = false;
  #isSilent = false;
  #isForgotten = false;

  constructor(
    private readonly client: Socket,
    private readonly gate: () => Promise<void>,
    private readonly isLastRequest: (chunk: Buffer) => boolean,
  ) {
    this.closed = new Promise((resolve) => (this.#markClosed = resolve));
    client.on('error', () => undefined);
  }

  connect(port: number, host: string): void {
    if (this.client.destroyed) return this.#markClosed();
    const { client } = this;
    const server = connect({ port, host, allowHalfOpen: true, noDelay: true });
    this.#server = server;
    server.on('error', () => undefined);
    const toServer = this.#inOrder();
    const toClient = this.#inOrder();

    client.on('data', (chunk) => toServer(() => this.#request(server, chunk)));
    client.on('end', () => toServer(() => server.end()));
    client.on('close', () => toServer(() => server.destroySoon()));
    server.on('data', (chunk) => toClient(() => this.#answer(server, chunk)));
    server.on('end', () => toClient(() => client.end()));
    server.on('close', () => {
      toClient(() => client.destroySoon());
      this.#markClosed();
    });
  }

  break(): void {
    this.#broken = true;
    this.client.destroy();
    this.#server?.destroy();
    this.#markClosed();
  }

  forget(): void {
    this.#isForgotten = true;
  }

  #request(server: Socket, chunk: Buffer): void {
    if (this.#isSilent) return;
    this.#isSilent = this.isLastRequest(chunk);
    server.write(chunk);
  }

  #answer(server: Socket, chunk: Buffer): void {
    if (!this.#isSilent) {
      this.client.write(chunk);
      return;
    }
    // The server gets to the end of the stream in good order: a reset could make it drop what it has not read yet.
    this.#broken = true;
    this.client.destroy();
    server.end();
  }

  /** Lets actions through the gate one after the other, until the link is broken. */
  #inOrder(): (action: () => void) => void {
    let last = Promise.resolve();
    return (action) => {
      const open = this.gate();
      last = last.then(async () => {
        await open;
        if (!this.#broken && !this.#isForgotten) action();
      });
    };
  }
}
