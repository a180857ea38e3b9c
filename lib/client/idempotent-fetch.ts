import { type Answer, isDefinitive, isEventStream, isRetryable, readAnswer } from './answer.js';
import { IdempotentFetchError } from './idempotent-fetch-error.js';
import { newKey } from './new-key.js';
import { type IdempotentFetchOptions, type IdempotentResult, resolveOptions, type Settings } from './options.js';
import { type FetchInput, type Outgoing, prepare } from './outgoing.js';
import { pauseBefore, sleep } from './pause.js';
import { retryAfter } from './retry-after.js';
import { dropKey, storedKey } from './stored-key.js';

/** As `fetch`, for an operation: the third argument says how. */
export type IdempotentFetch = (
  input: FetchInput,
  init?: RequestInit,
  options?: IdempotentFetchOptions,
) => Promise<IdempotentResult>;

/** An {@link idempotentFetch} with other defaults. */
export function createIdempotentFetch(defaults: Omit<IdempotentFetchOptions, 'key' | 'operation'>): IdempotentFetch {
  return (input, init, options) => idempotentFetch(input, init, { ...defaults, ...options });
}

/**
 * Carries an operation out by one or more requests with one idempotency key.
 *
 * A request is sent again, with the same key and the same bytes, where the connection failed, the attempt took too long,
 * or the answer says that it should be: by `retryable` in a problem, else by the status 408, 425, 429, 502, 503 or 504, or
 * 409 with `Retry-After`. Any other answer is final. When attempts or time run out, the last answer is returned, with
 * `definitive: false`.
 *
 * @throws IdempotentFetchError where attempts or time ran out without an answer to the last attempt
 * @throws TypeError, RangeError for a request or options that cannot be used; nothing was sent
 * @throws the reason of the request's AbortSignal, when that is aborted
 */
export async function idempotentFetch(
  input: FetchInput,
  init: RequestInit = {},
  options: IdempotentFetchOptions = {},
): Promise<IdempotentResult> {
  const settings = resolveOptions(options);
  const outgoing = await prepare(input, init);
  if (outgoing.signal?.aborted) throw outgoing.signal.reason;
  const key = await keyOf(outgoing, settings);
  outgoing.headers.set(settings.header, key);
  const giveUpAt = performance.now() + settings.deadline;

  for (let attempts = 1; ; attempts++) {
    const result = await attempt(outgoing, settings, giveUpAt);
    if ('response' in result && !isRetryable(result)) return conclude(result, attempts, key, settings);

    const askedFor = 'response' in result ? retryAfter(result.response.headers) : undefined;
    const pause = pauseBefore(attempts, askedFor, settings);
    if (attempts >= settings.maxAttempts || performance.now() + pause >= giveUpAt) {
      if ('response' in result) return conclude(result, attempts, key, settings);
      throw unanswered(outgoing, key, attempts, result.error);
    }
    settings.onRetry?.({
      attempts,
      pause,
      ...('response' in result ? { response: result.response } : { error: result.error }),
    });
    await sleep(pause, outgoing.signal);
  }
}

async function keyOf({ headers }: Outgoing, { key, header, storage, operation }: Settings): Promise<string> {
  const own = headers.get(header) ?? undefined;
  const sources = [key, own, storage].filter((source) => source !== undefined).length;
  if (sources > 1) {
    throw new TypeError(
      `idempotentFetch: one of the option \`key\`, the header ${header} and \`storage\`, not several`,
    );
  }
  return storage ? storedKey(storage, operation!) : (key ?? own ?? newKey());
}

/** One attempt: an answer, or why there is none. Rejects only where the caller has aborted. */
async function attempt(
  outgoing: Outgoing,
  { attemptTimeout, fetch }: Settings,
  giveUpAt: number,
): Promise<Answer | { readonly error: unknown }> {
  const { signal } = outgoing;
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal!.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const limit = Math.min(attemptTimeout, giveUpAt - performance.now());
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
    // A stream is still to be read, and may be aborted.
    if (!streams) signal?.removeEventListener('abort', onAbort);
  }
}

async function conclude(
  answer: Answer,
  attempts: number,
  key: string,
  { storage, operation }: Settings,
): Promise<IdempotentResult> {
  const { response, replayed, problem } = answer;
  const definitive = isDefinitive(answer);
  if (definitive && storage) await dropKey(storage, operation!, key);
  return { response, replayed, definitive, attempts, key, ...(problem && { problem }) };
}

function unanswered({ method, url }: Outgoing, key: string, attempts: number, cause: unknown): IdempotentFetchError {
  const message =
    `${method} ${new URL(url).pathname} was not answered, sent ${attempts} time(s). Whether it was carried out is ` +
    'unknown: ask again with the same key.';
  return new IdempotentFetchError(message, { key, attempts, cause });
}
