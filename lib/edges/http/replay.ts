import { isUtf8 } from 'node:buffer';
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Subscriber } from 'rxjs';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { Exchange, FastifyReply } from './exchange.js';
import { mute } from './mute.js';
import { applyHead } from './response-capture.js';
import { type Gate, type GateKeeper, gateOf } from './response-gate.js';
import { type HeaderLine, type Headers, lowerCaseOf, type ResponseHead, unpackHead } from './response-head.js';
import type { StaleNonces } from './stale-nonces.js';
import { REPLAYED_HEADER, restoreOutcome } from './write-response.js';

/**
 * Sends the stored response at once, since a handler with a native `@Res()` would leave nobody else to do it. What outer
 * interceptors do to the response from then on has no effect.
 *
 * @param subscriber the outer interceptors, which go on once the response is on its way, or the client has gone
 */
export function replay(
  exchange: Exchange,
  outcome: StoredOutcome,
  nonces: StaleNonces,
  subscriber: Subscriber<unknown>,
): void {
  const { endpoint, rawResponse, reply } = exchange;
  const head = unpackHead(outcome.head);
  const sent = () => {
    exchange.silence();
    nonces.note(endpoint, rawResponse, outcome);
    subscriber.next(valueOf(head, outcome.body));
    subscriber.complete();
  };
  if (reply) return sendThroughHooks(reply, outcome, head, sent);
  rawResponse.end(restoreOutcome(rawResponse, rawResponse, outcome, head));
  mute(rawResponse);
  sent();
}

/** The body that outer interceptors once made of the handler's value, where it is JSON. */
function valueOf({ headers }: ResponseHead, body: Buffer | null): unknown {
  if (!body) return undefined;
  for (const [name, value] of headers) {
    if (lowerCaseOf(name) !== 'content-type' || !String(value).includes('json')) continue;
    try {
      return JSON.parse(body.toString());
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** The headers of a reply, before Fastify sends them. */
class ReplyHeaders implements Headers {
  constructor(private readonly reply: FastifyReply) {}

  getHeader(name: string): OutgoingHttpHeader | undefined {
    return this.reply.getHeader(name);
  }

  setHeader(name: string, value: OutgoingHttpHeader): void {
    this.reply.removeHeader(name);
    this.reply.header(name, value);
  }

  removeHeader(name: string): void {
    this.reply.removeHeader(name);
  }
}

/**
 * Fastify's plugins do in `onSend` hooks what Express middleware does by wrapping the response: they write the cookies that
 * guards have set, save sessions, add headers. A replay that skipped them would lose the session token that a guard has just
 * rotated.
 *
 * @param onSent called once the hooks have run and the response is on its way, or the client has gone
 */
function sendThroughHooks(reply: FastifyReply, outcome: StoredOutcome, head: ResponseHead, onSent: () => void): void {
  const body = restoreOutcome(reply.raw, new ReplyHeaders(reply), outcome, head);
  // To Fastify, a buffer of no bytes is a body.
  const content = body?.length ? body : undefined;
  new HookedReplay(reply, head.headers, content, onSent);
  reply.send(asText(content, reply.getHeader('content-type')));
}

/** Hooks know text as a string, as Fastify gave it to them the first time. */
function asText(body: Buffer | undefined, contentType: unknown): Buffer | string | undefined {
  if (!body || !/json|text|xml|javascript|urlencoded/.test(String(contentType)) || !isUtf8(body)) return body;
  return body.toString();
}

const REPLAYED_NAME = lowerCaseOf(REPLAYED_HEADER);

/** Describe the bytes that are sent, which are the stored ones whatever hooks make of them. */
const OF_THE_BYTES =
  /^(?:content-(?!security-policy).+|etag|last-modified|(?:repr-)?digest|transfer-encoding|trailer)$/;

/**
 * Waits for Fastify to write what its hooks have left of a stored response, and sends the stored bytes with the headers that
 * the hooks have set: they have seen the bytes before those were stored, and would compress or wrap them twice. A response with
 * another status is the hooks' own (a session could not be saved, a refusal), and passes.
 */
class HookedReplay implements GateKeeper {
  private readonly gate: Gate;
  private readonly status: number;
  /** As the hooks were given them. */
  private readonly headers: OutgoingHttpHeaders;
  private isSent = false;

  /** @param stored headers as they are to be spelt: Fastify keeps them in lower case alone */
  constructor(
    private readonly reply: FastifyReply,
    private readonly stored: readonly HeaderLine[],
    private readonly body: Buffer | undefined,
    private readonly onSent: () => void,
  ) {
    this.status = reply.raw.statusCode;
    this.headers = reply.getHeaders();
    this.gate = gateOf(reply.raw);
    this.gate.keeper = this;
    reply.raw.on('close', () => this.noteSent());
  }

  writeHead([status, ...rest]: readonly unknown[]): void {
    applyHead(this.reply.raw, status as number, rest);
  }

  flushHeaders(): void {}

  write(args: readonly unknown[]): boolean {
    const goesOn = !this.send() || this.reply.raw.write(...(args as [string]));
    this.noteSent();
    return goesOn;
  }

  end(args: readonly unknown[]): void {
    if (this.send()) {
      this.reply.raw.end(...(args as [string]));
      mute(this.reply.raw);
    }
    this.noteSent();
  }

  mayChangeHeaders(): boolean {
    return true;
  }

  private noteSent(): void {
    if (this.isSent) return;
    this.isSent = true;
    this.onSent();
  }

  /** Returns whether what the hooks have made passes instead. */
  private send(): boolean {
    const { raw } = this.reply;
    const { body, headers } = this;
    this.gate.keeper = undefined;
    if (raw.statusCode !== this.status) {
      this.takeBack();
      return true;
    }
    for (const name of raw.getHeaderNames()) {
      if (headers[name] !== undefined || !OF_THE_BYTES.test(name)) continue;
      // Over HTTP/1, node tells the length by itself, unless it was taken away.
      if (name === 'content-length' && raw.req.httpVersionMajor === 1)
        raw.setHeader('Content-Length', body?.length ?? 0);
      else raw.removeHeader(name);
    }
    for (const name in headers) {
      const value = headers[name]!;
      const spelling = this.spellingOf(name);
      const isStill = String(raw.getHeader(name)) === String(value);
      if (OF_THE_BYTES.test(name) ? !isStill || spelling : isStill && spelling) raw.setHeader(spelling ?? name, value);
    }
    raw.end(body);
    mute(raw);
    return false;
  }

  /** `undefined` for a header that is not of the stored response. */
  private spellingOf(name: string): string | undefined {
    if (name === REPLAYED_NAME) return REPLAYED_HEADER;
    for (const [spelling] of this.stored) if (lowerCaseOf(spelling) === name) return spelling;
    return undefined;
  }

  /** The stored coding would make another body unreadable. */
  private takeBack(): void {
    const { raw } = this.reply;
    raw.removeHeader(REPLAYED_HEADER);
    if (raw.getHeader('content-encoding') === this.headers['content-encoding']) raw.removeHeader('content-encoding');
  }
}
