import { isUtf8 } from 'node:buffer';
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Subscriber } from 'rxjs';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { Exchange, FastifyReply } from './exchange.js';
import {
  type ResponseInterceptor,
  type WriteHandler,
  interceptorOf,
  discardWrites,
  onClose,
} from './response-interceptor.js';
import { type HeaderLine, type Headers, lowerCaseOf, type ResponseHead, unpackHead } from '../content/response-head.js';
import type { StaleNonces } from './stale-nonces.js';
import { REPLAYED_HEADER, restoreOutcome } from './write-response.js';
import { applyHead } from './write-arguments.js';

/**
 * Sends the stored response itself, because the platform would not for a handler with a native `@Res()`. Later changes by outer
 * interceptors have no effect: a replay is what was sent the first time.
 *
 * @param subscriber the outer interceptors, which continue when node has the response or the client has disconnected
 * @throws UnreadableRecordError for a stored head that node cannot send
 */
export function replay(
  exchange: Exchange,
  outcome: StoredOutcome,
  nonces: StaleNonces,
  subscriber: Subscriber<unknown>,
): void {
  const { endpoint, rawResponse, reply } = exchange;
  const head = unpackHead(outcome.head);
  const onSent = () => {
    if (reply) setErrorType(reply);
    exchange.suppressFrameworkReply();
    nonces.note(endpoint, rawResponse, outcome);
    subscriber.next(valueOf(head, outcome.body));
    subscriber.complete();
  };
  if (reply) return sendThroughHooks(reply, outcome, head, onSent);
  rawResponse.end(restoreOutcome(rawResponse, rawResponse, outcome, head));
  discardWrites(rawResponse);
  onSent();
}

/**
 * Sets the type of an error's JSON to the only one of which Nest 11 does not warn when it sees the value of the replay. Node has the stored
 * type by then.
 */
function setErrorType(reply: FastifyReply): void {
  if (reply.statusCode >= 400 && String(reply.getHeader('content-type')).includes('json'))
    reply.header('content-type', 'application/json');
}

/** Returns the value for outer interceptors: the parsed body of JSON, otherwise `undefined`. */
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

/** Headers that Fastify keeps itself until it sends them. */
class ReplyHeaders implements Headers {
  constructor(private readonly reply: FastifyReply) {}

  getHeader(name: string): OutgoingHttpHeader | undefined {
    return this.reply.getHeader(name);
  }

  setHeader(name: string, value: OutgoingHttpHeader): void {
    this.reply.header(name, value);
  }

  removeHeader(name: string): void {
    this.reply.removeHeader(name);
  }
}

/**
 * Fastify's plugins do in `onSend` hooks what Express middleware does by wrapping the response: they write the cookies of guards, save
 * sessions, add headers. A replay without these hooks would lose the session token that a guard has just rotated.
 *
 * @param onSent called when the hooks have run and node has the response, or when the client has disconnected
 */
function sendThroughHooks(reply: FastifyReply, outcome: StoredOutcome, head: ResponseHead, onSent: () => void): void {
  const body = restoreOutcome(reply.raw, new ReplyHeaders(reply), outcome, head);
  // Fastify would send an empty buffer as a body.
  const content = body?.length ? body : undefined;
  new HookedReplay(reply, head.headers, content, onSent);
  reply.send(asText(content, reply.getHeader('content-type')));
}

/** Returns text as a string, because hooks got one for the first response. */
function asText(body: Buffer | undefined, contentType: unknown): Buffer | string | undefined {
  if (!body || !/json|text|xml|javascript|urlencoded/.test(String(contentType)) || !isUtf8(body)) return body;
  return body.toString();
}

const REPLAYED_NAME = lowerCaseOf(REPLAYED_HEADER);

/** Headers that describe the bytes (RFC 9110, section 8). They are sent as stored, because the bytes are. */
const REPRESENTATION_HEADERS =
  /^(?:content-(?!security-policy).+|etag|last-modified|(?:repr-)?digest|transfer-encoding|trailer)$/;

/**
 * Intercepts what Fastify writes after its hooks have run, and sends the stored bytes with the hooks' headers. The hooks processed
 * these bytes before they were stored, and would compress or wrap them twice. When a hook has set another status, the response is its
 * own, such as a session that could not be saved, and is sent as the hook wrote it.
 */
class HookedReplay implements WriteHandler {
  private readonly interceptor: ResponseInterceptor;
  private readonly status: number;
  /** The headers before the hooks changed them. */
  private readonly headers: OutgoingHttpHeaders;
  private isSent = false;

  /** @param stored the stored headers in their original spelling, which Fastify loses */
  constructor(
    private readonly reply: FastifyReply,
    private readonly stored: readonly HeaderLine[],
    private readonly body: Buffer | undefined,
    private readonly onSent: () => void,
  ) {
    this.status = reply.raw.statusCode;
    this.headers = reply.getHeaders();
    this.interceptor = interceptorOf(reply.raw);
    this.interceptor.handler = this;
    onClose(reply.raw, () => this.noteSent());
  }

  writeHead([status, ...rest]: readonly unknown[]): void {
    applyHead(this.reply.raw, status as number, rest);
  }

  flushHeaders(): void {}

  write(args: readonly unknown[]): boolean {
    const mayContinue = !this.isOfHook() || this.reply.raw.write(...(args as [string]));
    this.noteSent();
    return mayContinue;
  }

  end(args: readonly unknown[]): void {
    if (this.isOfHook()) {
      this.reply.raw.end(...(args as [string]));
      discardWrites(this.reply.raw);
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

  /** Returns whether a hook writes a response of its own. If not, sends the stored one. */
  private isOfHook(): boolean {
    const { raw } = this.reply;
    const { body, headers } = this;
    this.interceptor.handler = undefined;
    if (raw.statusCode !== this.status) {
      this.removeReplayHeaders();
      return true;
    }
    for (const name of raw.getHeaderNames()) {
      if (headers[name] !== undefined || !REPRESENTATION_HEADERS.test(name)) continue;
      // Over HTTP/1, node sets the length by itself, except after the header was removed.
      if (name === 'content-length' && raw.req.httpVersionMajor === 1)
        raw.setHeader('Content-Length', body?.length ?? 0);
      else raw.removeHeader(name);
    }
    for (const name in headers) {
      const value = headers[name]!;
      const spelling = this.spellingOf(name);
      const isUnchanged = String(raw.getHeader(name)) === String(value);
      if (REPRESENTATION_HEADERS.test(name) ? !isUnchanged || spelling : isUnchanged && spelling)
        raw.setHeader(spelling ?? name, value);
    }
    raw.end(body);
    discardWrites(raw);
    return false;
  }

  /** Returns the stored spelling of a header; `undefined` if the stored response does not have it. */
  private spellingOf(name: string): string | undefined {
    if (name === REPLAYED_NAME) return REPLAYED_HEADER;
    for (const [spelling] of this.stored) if (lowerCaseOf(spelling) === name) return spelling;
    return undefined;
  }

  /** Removes the replay's headers from a hook's own response, whose body the stored content coding would make unreadable. */
  private removeReplayHeaders(): void {
    const { raw } = this.reply;
    raw.removeHeader(REPLAYED_HEADER);
    if (raw.getHeader('content-encoding') === this.headers['content-encoding']) raw.removeHeader('content-encoding');
  }
}
