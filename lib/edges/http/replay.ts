import type { OutgoingHttpHeaders } from 'node:http';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { Exchange, FastifyReply } from './exchange.js';
import { mute } from './mute.js';
import { applyHead } from './response-capture.js';
import { type Gate, type GateKeeper, gateOf } from './response-gate.js';
import { type Headers, unpackHead } from './response-head.js';
import type { StaleNonces } from './stale-nonces.js';
import { REPLAYED_HEADER, restoreOutcome, writeOutcome } from './write-response.js';

/**
 * Sends the stored response at once, since a handler with a native `@Res()` would leave nobody else to do it. What outer
 * interceptors do to the response from then on has no effect.
 *
 * @returns on Fastify a promise: its hooks run first
 */
export function replay(exchange: Exchange, outcome: StoredOutcome, nonces: StaleNonces): Promise<void> | void {
  const { endpoint, rawResponse, reply } = exchange;
  if (reply) {
    return sendThroughHooks(reply, outcome).then(() => {
      exchange.silence();
      nonces.note(endpoint, rawResponse, outcome);
    });
  }
  exchange.silence();
  writeOutcome(rawResponse, outcome);
  mute(rawResponse);
  nonces.note(endpoint, rawResponse, outcome);
}

/** What outer interceptors see of a replay: the body they once made of the handler's value, where it is JSON. */
export function valueOf({ head, body }: StoredOutcome): unknown {
  const contentType = unpackHead(head).headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  if (!body || !String(contentType).includes('json')) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/**
 * Fastify's plugins do in `onSend` hooks what Express middleware does by wrapping the response: they write the cookies that
 * guards have set, save sessions, add headers. A replay that skipped them would lose the session token that a guard has just
 * rotated.
 *
 * Resolves once the hooks have run and the response is on its way, or the client has gone.
 */
function sendThroughHooks(reply: FastifyReply, outcome: StoredOutcome): Promise<void> {
  const { raw } = reply;
  const headers: Headers = {
    getHeader: (name) => reply.getHeader(name),
    setHeader(name, value) {
      reply.removeHeader(name);
      reply.header(name, value);
    },
    removeHeader: (name) => reply.removeHeader(name),
  };
  const restored = restoreOutcome(raw, headers, outcome);
  // To Fastify, a buffer of no bytes is a body.
  const body = restored.body?.length ? restored.body : undefined;
  return new Promise((resolve) => {
    raw.once('close', resolve);
    new HookedReplay(reply, {
      status: raw.statusCode,
      headers: reply.getHeaders(),
      spelling: new Map(restored.headers.map(([name]) => [name.toLowerCase(), name])),
      body,
      onSent: resolve,
    });
    reply.send(asText(body, reply.getHeader('content-type')));
  });
}

/** Hooks know text as a string, as Fastify gave it to them the first time. */
function asText(body: Buffer | undefined, contentType: unknown): Buffer | string | undefined {
  if (!body || !/json|text|xml|javascript|urlencoded/.test(String(contentType))) return body;
  const text = body.toString();
  return Buffer.from(text).equals(body) ? text : body;
}

/** Describe the bytes that are sent, which are the stored ones whatever hooks make of them. */
const OF_THE_BYTES =
  /^(?:content-(?!security-policy).+|etag|last-modified|(?:repr-)?digest|transfer-encoding|trailer)$/;

interface GivenToHooks {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  /** By the name in lower case, which is the only one that Fastify keeps. */
  readonly spelling: ReadonlyMap<string, string>;
  readonly body: Buffer | undefined;
  readonly onSent: () => void;
}

/**
 * Waits for Fastify to write what its hooks have left of a stored response, and sends the stored bytes with the headers that
 * the hooks have set: they have seen the bytes before those were stored, and would compress or wrap them twice. A response with
 * another status is the hooks' own (a session could not be saved, a refusal), and passes.
 */
class HookedReplay implements GateKeeper {
  private readonly gate: Gate;

  constructor(
    private readonly reply: FastifyReply,
    private readonly given: GivenToHooks,
  ) {
    this.gate = gateOf(reply.raw);
    this.gate.keeper = this;
  }

  writeHead([status, ...rest]: readonly unknown[]): void {
    applyHead(this.reply.raw, status as number, rest);
  }

  flushHeaders(): void {}

  write(args: readonly unknown[]): boolean {
    return !this.send() || this.reply.raw.write(...(args as [string]));
  }

  end(args: readonly unknown[]): void {
    if (!this.send()) return;
    this.reply.raw.end(...(args as [string]));
    mute(this.reply.raw);
  }

  mayChangeHeaders(): boolean {
    return true;
  }

  /** Returns whether what the hooks have made passes instead. */
  private send(): boolean {
    const { raw } = this.reply;
    const { body, headers, onSent, spelling, status } = this.given;
    this.gate.keeper = undefined;
    onSent();
    if (raw.statusCode !== status) {
      this.takeBack();
      return true;
    }
    for (const name of raw.getHeaderNames()) {
      if (!OF_THE_BYTES.test(name) || headers[name] !== undefined) continue;
      // Over HTTP/1, node tells the length by itself, unless it was taken away.
      if (name === 'content-length' && raw.req.httpVersionMajor === 1)
        raw.setHeader('Content-Length', body?.length ?? 0);
      else raw.removeHeader(name);
    }
    for (const [name, value] of Object.entries(headers)) {
      const isStill = String(raw.getHeader(name)) === String(value);
      if (OF_THE_BYTES.test(name) ? !isStill || spelling.has(name) : isStill && spelling.has(name)) {
        raw.setHeader(spelling.get(name) ?? name, value!);
      }
    }
    raw.end(body);
    mute(raw);
    return false;
  }

  /** The stored coding would make another body unreadable. */
  private takeBack(): void {
    const { raw } = this.reply;
    const { headers } = this.given;
    raw.removeHeader(REPLAYED_HEADER);
    if (raw.getHeader('content-encoding') === headers['content-encoding']) raw.removeHeader('content-encoding');
  }
}
