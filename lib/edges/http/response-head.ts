import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';

/** Headers of a stored response, in the order and spelling they were sent in. */
export interface ResponseHead {
  readonly headers: readonly (readonly [name: string, value: string | string[]])[];
  /** Headers of earlier middleware that were taken away, in lower case. */
  readonly removed?: readonly string[];
  readonly statusMessage?: string;
}

/** Never replayed: credentials, what belongs to one connection (RFC 9110, section 7.6.1), and what tells the time. */
const NEVER = new Set([
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

/** The headers that were set since `before`, less those that are never replayed or that the options leave out. */
export function headSince(
  response: ServerResponse,
  before: OutgoingHttpHeaders,
  { include, exclude }: Pick<ResolvedOperationOptions['response'], 'include' | 'exclude'>,
): ResponseHead {
  const headers: [string, string | string[]][] = [];
  for (const name of namesOf(response)) {
    const lower = name.toLowerCase();
    if (NEVER.has(lower) || exclude.has(lower) || (include && !include.has(lower))) continue;
    const value = response.getHeader(name)!;
    if (lower in before && String(before[lower]) === String(value)) continue;
    headers.push([name, Array.isArray(value) ? value : String(value)]);
  }
  const removed = Object.keys(before).filter((name) => !NEVER.has(name) && !response.hasHeader(name));
  const { statusMessage } = response;
  return { headers, ...(removed.length && { removed }), ...(statusMessage && { statusMessage }) };
}

/** As they were spelt; HTTP/2 knows lower case alone. */
function namesOf(response: ServerResponse): string[] {
  // Missing from the types of a ServerResponse, which inherits it from OutgoingMessage.
  const { getRawHeaderNames } = response as unknown as { getRawHeaderNames?: (this: ServerResponse) => string[] };
  return getRawHeaderNames?.call(response) ?? response.getHeaderNames();
}

export function packHead(head: ResponseHead): Buffer {
  return Buffer.from(JSON.stringify(head));
}

export function unpackHead(packed: Buffer | null): ResponseHead {
  return packed ? (JSON.parse(packed.toString()) as ResponseHead) : { headers: [] };
}
