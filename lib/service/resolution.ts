import { packHead } from '../edges/content/response-head.js';
import { packAnswer } from '../edges/content/value-outcome.js';
import type { StoredOutcome } from '../engine/outcome.js';
import type { IdempotencyRecord } from '../store/entities/index.js';

/** The outcome of a held operation, as an operator has found out. */
export type Resolution =
  /** It did not happen: the next request with its key may run. */
  | 'release'
  /** It happened, with this HTTP response. */
  | {
      /** From 200 to 599. */
      readonly status: number;
      /** `Content-Type` is by default JSON where the body parses as such, and text otherwise. */
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Uint8Array;
    }
  /** It happened, with this value of {@link IdempotencyService.run}. */
  | { readonly value: unknown };

/**
 * Returns the outcome to record, or `null` for a release.
 *
 * @throws TypeError for anything else: recorded, it could not be replayed, and the record would no longer be held
 */
export function outcomeOf(resolution: Resolution): StoredOutcome | null {
  if (resolution === 'release') return null;
  if (isObject(resolution) && 'value' in resolution) return packAnswer({ values: [resolution.value] }, Infinity);
  const { status, headers = {}, body } = isObject(resolution) ? resolution : {};
  const isBody = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
  if (!isStatus(status) || !isObject(headers) || !isBody) {
    throw new TypeError(
      "IdempotencyService.resolve() takes 'release', { value }, or { status, headers, body } with a status from 200 to 599 and a body as text or bytes",
    );
  }
  const isTyped = body === undefined || Object.keys(headers).some((name) => name.toLowerCase() === 'content-type');
  return {
    code: status,
    head: packHead({
      headers: Object.entries(isTyped ? headers : { 'Content-Type': mediaTypeOf(body), ...headers }),
    }),
    body: body === undefined ? null : Buffer.from(body as Uint8Array),
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Returns whether a status is one of 2xx to 5xx: a client takes any other for no final response. */
export function isStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 200 && (status as number) <= 599;
}

function mediaTypeOf(body: string | Uint8Array): string {
  try {
    JSON.parse(Buffer.from(body as Uint8Array).toString());
    return 'application/json; charset=utf-8';
  } catch {
    return 'text/plain; charset=utf-8';
  }
}

/** Routes of message handlers and mutations. A pattern may begin with a slash, as MQTT's topics do. */
const OF_VALUES = /^(RPC|EVENT|MUTATION) /;

/**
 * Returns whether an operation answers over HTTP. Its retries cannot be answered with a value, and those of other operations read the
 * recorded outcome as JSON.
 */
export function answersOverHttp({ route, endpoint }: Pick<IdempotencyRecord, 'route' | 'endpoint'>): boolean {
  if (route !== null) return !OF_VALUES.test(route);
  return /^[A-Z]+ [/*]/.test(endpoint) && !OF_VALUES.test(endpoint);
}

/** Returns whether retries of an operation can be answered with a resolution: a release, or an outcome of its own kind. */
export function fits(resolution: Resolution, record: Pick<IdempotencyRecord, 'route' | 'endpoint'>): boolean {
  return resolution === 'release' || 'value' in resolution !== answersOverHttp(record);
}
