/**
 * The API between the operators' page and its server. Every path is relative to the page, `<path>/index.html`, to which `<path>`
 * redirects: the page works behind any prefix, and never knows its own.
 *
 *     GET  ./index.html                  the page
 *     GET  ./app.js, ./style.css, …      its files
 *     GET  ./api/info                    Info
 *     GET  ./api/records?…               RecordPage      see RecordQuery
 *     GET  ./api/records/:id             RecordDetail
 *     GET  ./api/activity                Activity
 *     GET  ./api/events                  text/event-stream: `hello`, `tick`
 *     POST ./api/records/:id/:action     ActionResult    see ActionRequest
 *     POST ./api/bulk                    BulkResult      see BulkRequest
 *
 * A POST has `Content-Type: application/json` and `X-Idempotency-Dashboard: 1`: other origins cannot send either without a
 * preflight. Errors are an {@link ApiError}, except those of the application's guards, which have the application's form.
 * Instants are ISO 8601 in UTC.
 */
import type { IdempotencyEvent } from '../engine/events.js';
import type { RecordStatus } from '../engine/ports/record-store.js';

/** The header that every POST has, with the value `1`. */
export const REQUEST_HEADER = 'x-idempotency-dashboard';

/** The header of `./api/records` that has `key`, `scope` and `host` in the form of a query: access logs have URLs. */
export const LOOKUP_HEADER = 'x-idempotency-lookup';

/** How many records one request may change. */
export const MAX_BULK = 100;

/** The largest number of records on one page of the list. */
export const MAX_PAGE = 200;

export interface Info {
  /** Whether the option `actions` is on. A guard may refuse a POST all the same. */
  readonly actions: boolean;
  /** Operations that this process has seen, for suggestions; at most 200. */
  readonly operations: readonly string[];
  readonly maxBulk: number;
  readonly maxPage: number;
  /** The operator, from `request.user`, which guards set; `null` without one. */
  readonly actor: string | null;
  /** Whether the module encrypts new records. */
  readonly encrypted: boolean;
  /** The version of the package. */
  readonly version: string;
  /** The time of the application: the page shows ages by it, as an operator's clock may be wrong. */
  readonly now: string;
}

/** Query parameters of `./api/records`, all optional. `key`, `scope` and `host` go into {@link LOOKUP_HEADER} instead. */
export interface RecordQuery {
  /** `held` includes records whose owner died under `afterCrash: 'hold'`. */
  readonly status?: RecordStatus;
  /** The whole name of the operation, such as `POST /payments`. */
  readonly operation?: string;
  /** The caller, as the option `scope` or `request.user` says. */
  readonly scope?: string;
  /** The client's key. Needs `operation`, and `scope` and `host` where the record has them; finds one record or none. */
  readonly key?: string;
  /** With `key`: the host of the request, where the controller names a `host`. */
  readonly host?: string;
  /** A record's id; finds one record or none. */
  readonly id?: string;
  /** Only records that are at least this old, in seconds. */
  readonly minAge?: string;
  /** Only records that are at most this old, in seconds. */
  readonly maxAge?: string;
  /** Default: `newest`. */
  readonly order?: 'newest' | 'oldest';
  /** 1 to 200. Default: 50. */
  readonly limit?: string;
  /** The `cursor` of the page before, which had the same filters. */
  readonly cursor?: string;
}

export interface RecordSummary {
  readonly id: string;
  readonly operation: string;
  /** The route of an operation that has a name of its own. */
  readonly route: string | null;
  /** The state in which a request with this key would find it. */
  readonly status: RecordStatus;
  /** A `processing` record whose lease has run out: the next request takes over. */
  readonly abandoned: boolean;
  /** Past its retention, but not yet deleted. */
  readonly expired: boolean;
  readonly attempt: number;
  readonly token: number;
  /** HTTP status; 1 for a value, 0 for an outcome without its response, `null` without an outcome. */
  readonly responseCode: number | null;
  readonly createdAt: string;
  readonly leaseUntil: string;
  readonly completedAt: string | null;
  /** `null` for a record that stays until it is completed or deleted: a held one, or a released one whose steps have run. */
  readonly expiresAt: string | null;
  /** What `resolve` takes: an HTTP response, or the value of a message, a mutation or `run()`. */
  readonly resolvesWith: 'response' | 'value';
}

export interface RecordPage {
  readonly records: readonly RecordSummary[];
  /** For the next page; `null` on the last one. A short or empty page may have a cursor: see `partial`. */
  readonly cursor: string | null;
  /**
   * The search stopped at its limit before the page was full, and `cursor` continues it. In a large table, one request reads a bounded
   * number of records for filters that have no index.
   */
  readonly partial: boolean;
  /** How many records this request has read. */
  readonly scanned: number;
  /**
   * `created`: by creation. `expiry`: a large table, by the time when records expire, for which there is an index. Both are the same
   * if all operations have one retention.
   */
  readonly orderedBy: 'created' | 'expiry';
}

/** Stored content of a request, a response or a step, as far as it may be shown. */
export type Content =
  /** Indented JSON. `redacted`: `"[redacted]"` has replaced a part of it. */
  | {
      readonly kind: 'json';
      readonly text: string;
      readonly bytes: number;
      readonly redacted: boolean;
      readonly truncated: boolean;
    }
  | { readonly kind: 'text'; readonly text: string; readonly bytes: number; readonly truncated: boolean }
  /** The first bytes, in base64. */
  | { readonly kind: 'binary'; readonly base64: string; readonly bytes: number; readonly truncated: boolean }
  /** Encrypted with a key that the application does not have. */
  | { readonly kind: 'sealed'; readonly reason: string }
  /** Withheld by the option `redact` or `content`. */
  | { readonly kind: 'withheld'; readonly reason: string; readonly bytes: number };

export interface RequestView {
  /** `null` if the request did not come over HTTP. */
  readonly method: string | null;
  readonly host: string | null;
  readonly path: string | null;
  readonly mediaType: string | null;
  readonly body: Content | null;
}

export interface ResponseView {
  /** `http`: with status and headers. `value`, `error`: of a message, a mutation or `run()`. `none`: the response was not kept. */
  readonly kind: 'http' | 'value' | 'error' | 'none';
  readonly status: number | null;
  /** A name may occur several times. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Content | null;
}

/** `record`: from the table. `memory`: this process saw it, and forgets it when it restarts. */
type Source = 'record' | 'memory';

export type TimelineEntry =
  | { readonly kind: 'created'; readonly at: string; readonly source: Source }
  /** An execution after the first won the record. `takenOver`: the lease of the former owner had run out. */
  | {
      readonly kind: 'attempt';
      readonly at: string | null;
      readonly source: Source;
      readonly attempt: number;
      readonly takenOver: boolean;
    }
  | {
      readonly kind: 'step';
      readonly at: string;
      readonly source: Source;
      readonly name: string;
      /** `begun`, without a running execution: it is unknown whether the step happened. */
      readonly status: 'begun' | 'done' | 'failed';
      readonly token: number;
      readonly result: Content | null;
    }
  /** Duplicates that this process answered. */
  | {
      readonly kind: 'replayed' | 'conflict' | 'mismatch' | 'refused';
      readonly at: string;
      readonly source: Source;
      readonly count: number;
    }
  | { readonly kind: 'leaseLost' | 'unrecorded' | 'notKept'; readonly at: string; readonly source: Source }
  | {
      readonly kind: 'completed' | 'released' | 'held';
      readonly at: string;
      readonly source: Source;
      readonly responseCode: number | null;
    }
  /** The end of the lease, of a record without an outcome. */
  | { readonly kind: 'lease'; readonly at: string; readonly source: Source; readonly past: boolean }
  | { readonly kind: 'expires'; readonly at: string; readonly source: Source; readonly past: boolean };

export interface RecordDetail extends RecordSummary {
  readonly takenFrom: RecordStatus | null;
  /** Whether a crash of the owner leaves the outcome unknown (`afterCrash: 'hold'`). */
  readonly holdOnCrash: boolean;
  /** Whether a request waits for the outcome. */
  readonly awaited: boolean;
  readonly retentionMs: number;
  /** `null` if it was not stored; a {@link Content} if it cannot be read. */
  readonly request: RequestView | Content | null;
  readonly response: ResponseView | Content | null;
  /** In the order of time. Entries without a time are placed by what they mean. */
  readonly timeline: readonly TimelineEntry[];
  /** What an operator may do with it; empty without the option `actions`. */
  readonly actions: readonly ActionName[];
}

/**
 * `resolve`: it happened, with this outcome (held records). `release`: it did not happen, the next request runs (held
 * records). `forget`: the record is deleted, and the next request with its key runs.
 */
export type ActionName = 'resolve' | 'release' | 'forget';

/** The outcome of a held operation. */
export type OutcomeRequest =
  | {
      /** 200 to 599. */
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      /** Unless `headers` has a `Content-Type`, it is JSON if the body parses as such, and otherwise text. */
      readonly body?: string;
    }
  | { readonly value: unknown };

/** The body of `./api/records/:id/resolve`, `…/release` and `…/forget`. */
export interface ActionRequest {
  /** Why: 1 to 500 characters. It is logged with the operator. */
  readonly reason: string;
  /** Required for `resolve`, and refused otherwise. */
  readonly outcome?: OutcomeRequest;
  /** For `forget`: allows to delete the record of a running execution. The next request then runs beside it, so the default is `false`. */
  readonly evenIfRunning?: boolean;
  /** The `token` that the operator saw. A decision about one attempt must not settle a later one. Default: not compared. */
  readonly token?: number;
}

export interface ActionResult {
  readonly id: string;
  readonly action: ActionName;
  /** The record afterwards; `null` if it is deleted, or if the database did not answer. */
  readonly record: RecordSummary | null;
}

/** The body of `./api/bulk`. */
export interface BulkRequest extends Omit<ActionRequest, 'token'> {
  readonly action: ActionName;
  /** 1 to {@link MAX_BULK} ids. Duplicates count once. */
  readonly ids: readonly string[];
  /** The `token` of each record, by its id. */
  readonly tokens?: Readonly<Record<string, number>>;
}

export interface BulkResult {
  readonly action: ActionName;
  readonly done: number;
  readonly failed: number;
  /** In the order of `ids`. */
  readonly results: readonly ({ readonly id: string } & (
    { readonly ok: true } | { readonly ok: false; readonly error: ApiError['error'] }
  ))[];
}

/** Counts of one process since it started. */
export interface Counts {
  /** Requests that won a record and ran, including those that took over. */
  readonly claims: number;
  readonly replays: number;
  /** Duplicates of a running request that were refused. */
  readonly conflicts: number;
  readonly takeOvers: number;
  /** Executions that ended without a recorded outcome, and requests that were refused because the store or the lock was unavailable. */
  readonly failures: number;
  readonly completions: number;
  /** Outcomes that are unknown until an operator resolves them. */
  readonly held: number;
  /** Requests that reused a key for something else, or used another caller's key. */
  readonly mismatches: number;
}

export interface ActivityBucket extends Counts {
  /** The beginning. */
  readonly at: string;
}

export interface Activity {
  /** When this process began to count. */
  readonly since: string;
  /** A restart forgets it. */
  readonly inMemory: true;
  readonly bucketSeconds: number;
  /** Counts since `since`. */
  readonly totals: Counts;
  /** Oldest first, without gaps; the last one is still counting. At most 360: an hour of 10 seconds each. */
  readonly buckets: readonly ActivityBucket[];
}

/** The first server-sent event, `hello`. The page then asks for what it has missed. */
export interface HelloEvent {
  readonly now: string;
}

/** The server-sent event `tick`: once a second, if something happened in this process. */
export interface TickEvent {
  readonly now: string;
  readonly totals: Counts;
  /** The buckets that have changed since the last tick. */
  readonly buckets: readonly ActivityBucket[];
  /** At most 50 records that changed, each with its last change. */
  readonly records: readonly { readonly id: string; readonly operation: string; readonly type: ChangeType }[];
  /** How many further records changed. */
  readonly more: number;
}

/** What happened to a record: an event of the engine, or what an operator did through this process. */
export type ChangeType = IdempotencyEvent['type'] | 'resolved' | 'forgotten';

export type ApiErrorCode =
  /** 400: a parameter or a body that cannot be used; `message` names it. */
  | 'bad-request'
  /** 400: a cursor of other filters, or of a table that has grown since. The page asks for the first page again. */
  | 'bad-cursor'
  /** 403: the request comes from another site, or a POST lacks the header {@link REQUEST_HEADER}. */
  | 'cross-site'
  /** 403: the option `actions` is off. */
  | 'actions-off'
  /** 404: there is no such record. */
  | 'not-found'
  /** 409: the record is not held, or no longer. */
  | 'not-held'
  /** 409: the record has changed since it was shown, for example by another attempt. */
  | 'changed'
  /** 409: an execution holds a lease on the record: see `evenIfRunning`. */
  | 'running'
  /** 415: a POST that is not JSON. */
  | 'not-json'
  /** 503: too many pages listen, too many searches run, or the application is shutting down. */
  | 'too-many-clients'
  /** 503: the database did not answer, or answered with an error. */
  | 'store-unavailable'
  /** 500: a defect. The log has the stack. */
  | 'failed';

export interface ApiError {
  readonly error: { readonly code: ApiErrorCode; readonly message: string };
}
