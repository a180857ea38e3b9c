import { connect, type Socket } from 'node:net';

/** A response as it came over the wire. */
export interface RawAnswer {
  readonly statusLine: string;
  readonly status: number;
  /** Header lines, as they were spelt. */
  readonly head: readonly string[];
  readonly body: Buffer;
  readonly trailers: readonly string[];
  /** Status lines of the informational responses before it. */
  readonly informational: readonly string[];
}

export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly key?: string;
  /** Names and values, or lines as they are. */
  readonly headers?: Readonly<Record<string, string>> | readonly string[];
  readonly body?: string | Uint8Array | object;
  /** Announces a longer body than it sends. */
  readonly contentLength?: number;
}

const PATIENCE = 8_000;

/** One connection to a server, without an HTTP client in between. */
export class RawConnection {
  private buffer = Buffer.alloc(0);
  private over = false;
  private wake: () => void = () => undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.buffer = Buffer.concat([this.buffer, chunk]);
      this.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.over = true;
      this.wake();
    });
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawConnection(socket);
  }

  send(request: RawRequest | string | Uint8Array): void {
    this.socket.write(typeof request === 'string' || request instanceof Uint8Array ? request : encode(request));
  }

  /** Reads the next response. */
  async read(method = 'POST'): Promise<RawAnswer> {
    const informational: string[] = [];
    for (;;) {
      const [statusLine, ...head] = (await this.upTo('\r\n\r\n')).split('\r\n');
      const status = Number(statusLine.split(' ')[1]);
      if (status < 200) {
        informational.push(statusLine, ...head);
        continue;
      }
      return { statusLine, status, head, informational, ...(await this.body(method, status, head)) };
    }
  }

  /** Reads what has come until now, waiting for the first of it. */
  async some(): Promise<string> {
    await this.until(() => this.buffer.length > 0);
    return this.take(this.buffer.length).toString('latin1');
  }

  close(): void {
    this.socket.destroy();
  }

  /** Resolves once the server has closed the connection. */
  closed(): Promise<void> {
    return this.until(() => this.over);
  }

  private async body(method: string, status: number, head: readonly string[]) {
    if (method === 'HEAD' || status === 204 || status === 304) return { body: Buffer.alloc(0), trailers: [] };
    if (valueOf(head, 'transfer-encoding')?.toLowerCase() === 'chunked') return this.chunks();
    const length = valueOf(head, 'content-length');
    if (length === undefined) await this.closed();
    else await this.until(() => this.buffer.length >= Number(length));
    return { body: this.take(length === undefined ? this.buffer.length : Number(length)), trailers: [] };
  }

  private async chunks() {
    const chunks: Buffer[] = [];
    for (;;) {
      const size = Number.parseInt(await this.upTo('\r\n'), 16);
      if (size === 0) break;
      await this.until(() => this.buffer.length >= size + 2);
      chunks.push(this.take(size));
      this.take(2);
    }
    const trailers: string[] = [];
    for (let line = await this.upTo('\r\n'); line !== ''; line = await this.upTo('\r\n')) trailers.push(line);
    return { body: Buffer.concat(chunks), trailers };
  }

  private async upTo(end: string): Promise<string> {
    await this.until(() => this.buffer.includes(end));
    const text = this.take(this.buffer.indexOf(end)).toString('latin1');
    this.take(end.length);
    return text;
  }

  private take(size: number): Buffer {
    const taken = Buffer.from(this.buffer.subarray(0, size));
    this.buffer = this.buffer.subarray(size);
    return taken;
  }

  private async until(done: () => boolean): Promise<void> {
    const giveUpAt = Date.now() + PATIENCE;
    while (!done()) {
      const left = giveUpAt - Date.now();
      const seen = () => JSON.stringify(this.buffer.toString('latin1', 0, 300));
      if (this.over) throw new Error(`the connection was closed after ${seen()}`);
      if (left <= 0) throw new Error(`no answer within ${PATIENCE} ms, only ${seen()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => (clearTimeout(timer), resolve());
      });
    }
  }
}

/** Sends a request over a connection of its own, and reads the response. */
export async function send(port: number, request: RawRequest): Promise<RawAnswer> {
  const connection = await RawConnection.open(port);
  try {
    connection.send(request);
    return await connection.read(request.method);
  } finally {
    connection.close();
  }
}

/** The value of a header, or of several with the same name, as one text. */
export function valueOf(head: readonly string[], name: string): string | undefined {
  const values = head.filter((line) => nameOf(line) === name.toLowerCase());
  return values.length ? values.map((line) => line.slice(line.indexOf(':') + 1).trim()).join(', ') : undefined;
}

export function nameOf(line: string): string {
  return line.slice(0, line.indexOf(':')).toLowerCase();
}

/** The bytes of a request: objects go as JSON, unless a content type is given. */
export function encode({ method = 'POST', path, key, headers = {}, body, contentLength }: RawRequest): Buffer {
  const lines = Array.isArray(headers)
    ? (headers as string[])
    : Object.entries(headers as Record<string, string>).map(([name, value]) => `${name}: ${value}`);
  const isObject = typeof body === 'object' && !(body instanceof Uint8Array);
  const payload = body === undefined ? undefined : Buffer.from(isObject ? JSON.stringify(body) : (body as Uint8Array));
  const says = (name: string) => lines.some((line) => nameOf(line) === name);
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: localhost',
    ...(key === undefined ? [] : [`Idempotency-Key: ${key}`]),
    ...lines,
    ...(isObject && !says('content-type') ? ['Content-Type: application/json'] : []),
    ...(payload && !says('transfer-encoding') ? [`Content-Length: ${contentLength ?? payload.length}`] : []),
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), payload ?? Buffer.alloc(0)]);
}
