export { createIdempotentFetch, idempotentFetch, type IdempotentFetch } from './idempotent-fetch.js';
export type { FetchInput } from './outgoing.js';
export { IdempotentFetchError } from './idempotent-fetch-error.js';
export { forgetKey, type KeyStorage } from './stored-key.js';
export type { IdempotencyProblemDocument } from './problem.js';
export type { IdempotentFetchOptions, IdempotentResult, Retry } from './options.js';
