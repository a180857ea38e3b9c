import {
  type OutgoingHttpHeader,
  type OutgoingHttpHeaders,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import { UnreadableRecordError } from '../../engine/errors.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';

export type HeaderLine = readonly [name: string, value: string | string[]];

/** The head of a stored response. Headers are in the order and spelling in which they were sent. */
export interface ResponseHead {
  readonly headers: readonly HeaderLine[];
  /** Headers of earlier middleware that the handler removed, in lower case. */
  readonly removed?: readonly string[];
  readonly statusMessage?: string;
}

/** The headers of a response that has not been sent. */
export interface Headers {
  getHeader(name: string): OutgoingHttpHeader | undefined;
  setHeader(name: string, value: OutgoingHttpHeader): unknown;
  removeHeader(name: string): unknown;
}

/** Headers that are never stored: credentials, those of one connection (RFC 9110, section 7.6.1), and the time. */
export const NEVER_STORED = new Set([
  'set-cookie',
  'authorization',
  'cookie',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'date',
]);

/**
 * Headers that describe one exchange and not the outcome. A replay with the request id of the first request would lead its reader to
 * the wrong trace, and one with its quota would be wrong. They are stored only if `response.headers.include` names them.
 */
const OF_EXCHANGE = new RegExp(
  `^(?:${[
    // Request ids, as frameworks and clouds spell them.
    '(?:x-)?(?:(?:amzn?|ms|ms-client|goog|fly|apigw|github|vercel)-)?req(?:uest)?-?id',
    '(?:.+-)?(?:correlation|trace|span)-?id',
    'x-amz-id-2|x-vercel-id|x-azure-ref|cf-ray',
    // Trace context: W3C, B3, Jaeger, AWS, Google, Datadog, Sentry, Elastic, New Relic.
    'trace(?:parent|state|response)|baggage|b3|x-b3-.+|uber-trace-id|uberctx-.+|x-cloud-trace-context|grpc-trace-bin',
    'x-datadog-.+|sentry-trace|elastic-apm-traceparent|newrelic|x-ot-span-context',
    // Rate limits of the caller: draft-ietf-httpapi-ratelimit-headers, and the older names with their suffixes.
    '(?:x-)?rate-?limit(?:-.+)?|retry-after-.+',
    // Durations.
    'server-timing|x-response-time|x-runtime|x-process-time',
  ].join('|')})$`,
);

/** Headers that both the exchange and the outcome may set. A replay keeps those of its own exchange. */
const PRESENT_FIRST = /^(?:access-control-.+|retry-after)$/;

/** The number of names that are remembered. A bound is needed because a handler may set headers with random names. */
const MAX_NAMES = 500;

/** Returns a function like `of` that remembers its results, because every request has the same few names of headers. */
function remembering<T>(of: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>();
  return (name) => {
    let found = known.get(name);
    if (found === undefined) {
      found = of(name);
      if (known.size < MAX_NAMES) known.set(name, found);
    }
    return found;
  };
}

export const lowerCaseOf = remembering((name) => name.toLowerCase());

/** Takes a name in lower case. */
export const isOfExchange = remembering((name) => OF_EXCHANGE.test(name));

/** Returns the headers that were set since `before`, except those that are never stored or that the options exclude. */
export function headSince(
  response: ServerResponse,
  before: OutgoingHttpHeaders,
  { include, exclude }: Pick<ResolvedOperationOptions['response'], 'include' | 'exclude'>,
): ResponseHead {
  const headers: HeaderLine[] = [];
  for (const name of namesOf(response)) {
    const lower = lowerCaseOf(name);
    if (NEVER_STORED.has(lower) || exclude.has(lower) || (include ? !include.has(lower) : isOfExchange(lower)))
      continue;
    const value = response.getHeader(name)!;
    if (lower in before && String(before[lower]) === String(value)) continue;
    headers.push([name, Array.isArray(value) ? value : String(value)]);
  }
  let removed: string[] | undefined;
  for (const name in before) {
    if (!NEVER_STORED.has(name) && !isOfExchange(name) && !response.hasHeader(name)) (removed ??= []).push(name);
  }
  const { statusMessage } = response;
  return removed || statusMessage
    ? { headers, ...(removed && { removed }), ...(statusMessage && { statusMessage }) }
    : { headers };
}

export function restoreHead(response: Headers, { headers, removed = [] }: ResponseHead): void {
  for (const name of removed) response.removeHeader(name);
  for (const [name, stored] of headers) {
    const present = response.getHeader(name);
    if (present === undefined) {
      response.setHeader(name, stored);
      continue;
    }
    const lower = lowerCaseOf(name);
    // Records of earlier versions contain headers of their exchange.
    if (PRESENT_FIRST.test(lower) || isOfExchange(lower)) continue;
    response.setHeader(name, lower === 'vary' ? union(stored, present) : stored);
  }
}

/** Joins both `Vary` headers: a response varies with what its exchange read (the origin) and its outcome (the language). */
function union(stored: string | readonly string[], present: OutgoingHttpHeader): string {
  const fields = fieldsOf(stored);
  const known = new Set(fields.map((field) => field.toLowerCase()));
  return [...fields, ...fieldsOf(present).filter((field) => !known.has(field.toLowerCase()))].join(', ');
}

function fieldsOf(value: OutgoingHttpHeader | readonly string[]): string[] {
  return [value].flat().flatMap((text) =>
    String(text)
      .split(',')
      .map((field) => field.trim()),
  );
}

/** Returns the names of headers in their spelling. HTTP/2 has only lower case. */
function namesOf(response: ServerResponse): string[] {
  // Missing from the types of a ServerResponse, which inherits it from OutgoingMessage.
  const { getRawHeaderNames } = response as unknown as { getRawHeaderNames?: (this: ServerResponse) => string[] };
  return getRawHeaderNames?.call(response) ?? response.getHeaderNames();
}

export function packHead(head: ResponseHead): Buffer {
  return Buffer.from(JSON.stringify(head));
}

/**
 * Reads a stored head.
 *
 * The check makes the problem `record-unreadable` of a head that someone else wrote to the table. Node would refuse it only after some
 * headers were set, and on Fastify after the hooks had run.
 *
 * @throws UnreadableRecordError for a head that is malformed, or that node cannot send
 */
export function unpackHead(packed: Buffer | null): ResponseHead {
  if (!packed) return { headers: [] };
  try {
    const head = JSON.parse(packed.toString()) as ResponseHead;
    checkHead(head);
    return head;
  } catch (error) {
    throw new UnreadableRecordError({ cause: error });
  }
}

function checkHead({ headers, removed = [], statusMessage = '' }: ResponseHead): void {
  for (const line of arrayOf(headers)) {
    const [name, value] = arrayOf(line);
    validateHeaderName(name as string);
    for (const text of typeof value === 'string' ? [value] : arrayOf(value)) checkText(name as string, text);
  }
  for (const name of arrayOf(removed)) validateHeaderName(name as string);
  checkText('statusMessage', statusMessage);
}

function arrayOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new TypeError('not the head of a response');
}

function checkText(name: string, text: unknown): void {
  if (typeof text !== 'string') throw new TypeError(`${name} is no text`);
  validateHeaderValue(name, text);
}
