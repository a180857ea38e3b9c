import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';

/** Headers of a stored response, in the order and spelling they were sent in. */
export interface ResponseHead {
  readonly headers: readonly (readonly [name: string, value: string | string[]])[];
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
  { include, exclude }: ResolvedOperationOptions['response'],
): ResponseHead {
  const headers: [string, string | string[]][] = [];
  // Missing from the types of a ServerResponse, which inherits it from OutgoingMessage.
  const names = (response as unknown as { getRawHeaderNames(): string[] }).getRawHeaderNames();
  for (const name of names) {
    const lower = name.toLowerCase();
    if (NEVER.has(lower) || exclude.has(lower) || (include && !include.has(lower))) continue;
    const value = response.getHeader(name)!;
    if (lower in before && String(before[lower]) === String(value)) continue;
    headers.push([name, Array.isArray(value) ? value : String(value)]);
  }
  const { statusMessage } = response;
  return statusMessage ? { headers, statusMessage } : { headers };
}

export function packHead(head: ResponseHead): Buffer {
  return Buffer.from(JSON.stringify(head));
}

export function unpackHead(packed: Buffer | null): ResponseHead {
  return packed ? (JSON.parse(packed.toString()) as ResponseHead) : { headers: [] };
}
