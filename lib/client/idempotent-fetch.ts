import { type Answer, isDefinitive, isEventStream, isRetryable, readAnswer } from './answer.js';
import { IdempotentFetchError } from './idempotent-fetch-error.js';
import { newKey } from './new-key.js';
import { type IdempotentFetchOptions, type IdempotentResult, resolveOptions, type Settings } from './options.js';
import { type FetchInput, type Outgoing, prepare } from './outgoing.js';
import { pauseBefore, sleep } from './pause.js';
import { retryAfter } from './retry-after.js';
import { dropKey, type OperationKey, storedKey } from './stored-key.js';

/** Like `fetch`, with options for the operation as third argument. */
export type IdempotentFetch = (
  input: FetchInput,
  init?: RequestInit,
  options?: IdempotentFetchOptions,
) => Promise<IdempotentResult>;

/**
 * Returns an {@link idempotentFetch} with other defaults.
 *
 * @example
 * const send = createIdempotentFetch({ deadline: 30_000, storage: sessionStorage });
 */
export function createIdempotentFetch(defaults: Omit<IdempotentFetchOptions, 'key' | 'operation'>): IdempotentFetch {
  return (input, init, options) => idempotentFetch(input, init, { ...defaults, ...options });
}

/**
 * Sends the requests of one operation, all with one idempotency key and the same bytes.
 *
 * Retries where the connection breaks, an attempt takes too long, or the response asks for it: by `retryable` in a problem, else by status
 * 408, 425, 429, 502, 503, 504 or 520 to 524, or 409 with `Retry-After`. After an attempt that may have run, also 404 and 405: a gateway
 * may have sent them, or the page that a redirect leads to. Any other response is final. When attempts or time run out, the last response
 * is returned, with `definitive: false`.
 *
 * @throws IdempotentFetchError where attempts or time run out, and the last attempt got no response
 * @throws TypeError, RangeError for a request or options that cannot be used; nothing was sent
 * @throws the reason of the request's AbortSignal when it aborts
 *
 * @example
 * const { response } = await idempotentFetch('/payments', { method: 'POST', body: JSON.stringify(payment) });
 */
export async function idempotentFetch(
  input: FetchInput,
  init: RequestInit = {},
  options: IdempotentFetchOptions = {},
): Promise<IdempotentResult> {
  const settings = resolveOptions(options);
  const outgoing = await prepare(input, init);
  if (outgoing.signal?.aborted) throw outgoing.signal.reason;
  const { key, isUsed } = await keyOf(outgoing, settings);
  outgoing.headers.set(settings.header, key);
  const timeLeft = countdown(settings.deadline);

  for (let attempts = 1; ; attempts++) {
    const mayHaveRun = isUsed || attempts > 1;
    const result = await attempt(outgoing, settings, timeLeft());
    if ('response' in result && !isRetryable(result, mayHaveRun)) {
      return conclude(result, mayHaveRun, attempts, key, settings);
    }

    const askedFor = 'response' in result ? retryAfter(result.response.headers) : undefined;
    const pause = pauseBefore(attempts, askedFor, settings);
    if (attempts < settings.maxAttempts && timeLeft() > pause) {
      settings.onRetry?.({
        attempts,
        pause,
        ...('response' in result ? { response: result.response } : { error: result.error }),
      });
      await sleep(pause, outgoing.signal);
      if (timeLeft() > 0) continue;
    }
    if ('response' in result) return conclude(result, mayHaveRun, attempts, key, settings);
    throw unanswered(outgoing, key, attempts, result.error);
  }
}

/**
 * Returns how many milliseconds are left of `ms`. Two clocks count, because `performance.now()` stands still while most machines sleep, and
 * the date may be set back. A retry after a night's sleep would reach a server that has forgotten the key, and run the operation again.
 */
function countdown(ms: number): () => number {
  const startedAt = performance.now();
  const startDate = Date.now();
  return () => ms - Math.max(performance.now() - startedAt, Date.now() - startDate);
}

async function keyOf({ headers }: Outgoing, { key, header, storage, operation }: Settings): Promise<OperationKey> {
  const own = headers.get(header) ?? undefined;
  const sources = [key, own, storage].filter((source) => source !== undefined).length;
  if (sources > 1) {
    throw new TypeError(
      `idempotentFetch: one of the option \`key\`, the header ${header} and \`storage\`, not several`,
    );
  }
  return storage ? storedKey(storage, operation!) : { key: key ?? own ?? newKey(), isUsed: false };
}

/** Sends one attempt. Resolves to an error where it got no response, and rejects only where the caller aborts. */
async function attempt(
  outgoing: Outgoing,
  { attemptTimeout, fetch }: Settings,
  timeLeft: number,
): Promise<Answer | { readonly error: unknown }> {
  const { signal } = outgoing;
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal!.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const limit = Math.min(attemptTimeout, timeLeft);
  const timeUp = () => controller.abort(new DOMException(`No answer within ${Math.round(limit)} ms`, 'TimeoutError'));
  const timer = setTimeout(timeUp, limit);
  let streams = false;
  try {
    const response = await outgoing.send(fetch, controller.signal);
    streams = isEventStream(response);
    return await readAnswer(response);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    return { error };
  } finally {
    clearTimeout(timer);
    // The caller still reads a stream, and may abort it.
    if (!streams) signal?.removeEventListener('abort', onAbort);
  }
}

async function conclude(
  answer: Answer,
  mayHaveRun: boolean,
  attempts: number,
  key: string,
  { storage, operation }: Settings,
): Promise<IdempotentResult> {
  const { response, replayed, problem } = answer;
  const definitive = isDefinitive(answer, mayHaveRun);
  if (definitive && storage) await dropKey(storage, operation!, key);
  return { response, replayed, definitive, attempts, key, ...(problem && { problem }) };
}

function unanswered({ method, url }: Outgoing, key: string, attempts: number, cause: unknown): IdempotentFetchError {
  const message =
    `${method} ${new URL(url).pathname} was not answered, sent ${attempts} time(s). Whether it was carried out is ` +
    'unknown: ask again with the same key.';
  return new IdempotentFetchError(message, { key, attempts, cause });
}
