/**
 * What the operators' page and its server say to each other. Every path is relative to the page,
 * `<path>/index.html`, to which `<path>` redirects: the page works behind any prefix, and never knows its own.
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
 * preflight. What goes wrong is an {@link ApiError}, except what a guard of the application throws: that has its own form.
 * Instants are ISO 8601 in UTC.
 */
import type { RecordStatus } from '../engine/ports/record-store.js';

/** The header that every POST has, with the value `1`. */
export const REQUEST_HEADER = 'x-idempotency-dashboard';

/** The header of `./api/records` with `key`, `scope` and `host`, as in a query: access logs have URLs, and not this. */
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
  /** Who the application's guards say the operator is (`request.user`); `null` where they say nothing. */
  readonly actor: string | null;
  /** Whether the records of the module are encrypted from now on. */
  readonly encrypted: boolean;
  /** The version of the package. */
  readonly version: string;
  /** The clock of the application, to show ages by. */
  readonly now: string;
}

/** Query parameters of `./api/records`; all are optional. `key`, `scope` and `host` go into {@link LOOKUP_HEADER} instead. */
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
  /** Only records that are at least so many seconds old. */
  readonly minAge?: string;
  /** Only records that are at most so many seconds old. */
  readonly maxAge?: string;
  /** Default: `newest`. */
  readonly order?: 'newest' | 'oldest';
  /** 1 to 200. Default: 50. */
  readonly limit?: string;
  /** `cursor` of the page before, with the same filters. */
  readonly cursor?: string;
}

export interface RecordSummary {
  readonly id: string;
  readonly operation: string;
  /** The route of an operation that has a name of its own. */
  readonly route: string | null;
  /** As a request with this key would find it. */
  readonly status: RecordStatus;
  /** A `processing` record whose lease has run out: the next request takes over. */
  readonly abandoned: boolean;
  /** Past its retention, and not yet deleted. */
  readonly expired: boolean;
  readonly attempt: number;
  readonly token: number;
  /** HTTP status; 1 for a value, 0 where the answer was not kept, `null` without an outcome. */
  readonly responseCode: number | null;
  readonly createdAt: string;
  readonly leaseUntil: string;
  readonly completedAt: string | null;
  /** Held records do not expire, whatever it says. */
  readonly expiresAt: string;
  /** Whether `resolve` takes an HTTP response, or a value: of a message, a mutation or `run()`. */
  readonly resolvesWith: 'response' | 'value';
}

export interface RecordPage {
  readonly records: readonly RecordSummary[];
  /** For the next page; `null`: there is none. A page may be short, or empty, and still have a cursor: see `partial`. */
  readonly cursor: string | null;
  /**
   * The search stopped at its limit before the page was full: `cursor` goes on from there. Of a large table, filters that no
   * index serves are looked for in a bounded number of records a request.
   */
  readonly partial: boolean;
  /** How many records this request has looked at. */
  readonly scanned: number;
  /**
   * `created`: exactly by creation. `expiry`: of a large table, by when records expire (an index has that order), which is by
   * creation where all operations have one retention.
   */
  readonly orderedBy: 'created' | 'expiry';
}

/** What is kept of a request, a response or a step, as it may be shown. */
export type Content =
  /** JSON, indented. `redacted`: something of it was replaced by `"[redacted]"`. */
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
  /** Encrypted, and no key of the application opens it. */
  | { readonly kind: 'sealed'; readonly reason: string }
  /** The option `redact` or `content` keeps it from the page. */
  | { readonly kind: 'withheld'; readonly reason: string; readonly bytes: number };

export interface RequestView {
  /** `null` for what did not come over HTTP. */
  readonly method: string | null;
  readonly host: string | null;
  readonly path: string | null;
  readonly mediaType: string | null;
  readonly body: Content | null;
}

export interface ResponseView {
  /** `http`: with status and headers. `value`, `error`: of a message, a mutation or `run()`. `none`: the answer was not kept. */
  readonly kind: 'http' | 'value' | 'error' | 'none';
  readonly status: number | null;
  /** Some names come more than once. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Content | null;
}

/** `record`: it is in the table. `memory`: this process saw it, and forgets it. */
type Source = 'record' | 'memory';

export type TimelineEntry =
  | { readonly kind: 'created'; readonly at: string; readonly source: Source }
  /** An execution won the record, after the first. `takenOver`: from one that fell silent. */
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
      /** `begun` without an execution that runs: whether it happened is unknown. */
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
  /** When the lease ends, or ended, of a record without an outcome. */
  | { readonly kind: 'lease'; readonly at: string; readonly source: Source; readonly past: boolean }
  | { readonly kind: 'expires'; readonly at: string; readonly source: Source; readonly past: boolean };

export interface RecordDetail extends RecordSummary {
  readonly takenFrom: RecordStatus | null;
  /** Whether an owner that dies leaves the outcome unknown (`afterCrash: 'hold'`). */
  readonly holdOnCrash: boolean;
  /** Whether a request waits for the outcome. */
  readonly awaited: boolean;
  readonly retentionMs: number;
  /** `null` where nothing was kept of it. A {@link Content} where it cannot be read. */
  readonly request: RequestView | Content | null;
  readonly response: ResponseView | Content | null;
  /** By time; entries without one stand where they belong. */
  readonly timeline: readonly TimelineEntry[];
  /** What may be done with it; empty where the option `actions` is off. */
  readonly actions: readonly ActionName[];
}

/**
 * `resolve`: it happened, with this outcome (held records). `release`: it did not happen, the next request runs (held
 * records). `forget`: the record is deleted, and the next request with its key runs.
 */
export type ActionName = 'resolve' | 'release' | 'forget';

/** What a held operation came to. */
export type OutcomeRequest =
  | {
      /** 200 to 599. */
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      /** `Content-Type` is JSON where it parses as such, and text otherwise, unless `headers` has it. */
      readonly body?: string;
    }
  | { readonly value: unknown };

/** The body of `./api/records/:id/resolve`, `…/release` and `…/forget`. */
export interface ActionRequest {
  /** Why: 1 to 500 characters. It is logged, with who asked. */
  readonly reason: string;
  /** Of `resolve`, where it is required. */
  readonly outcome?: OutcomeRequest;
  /** Of `forget`: also a record that an execution holds a lease on. It would run twice, so it is refused without this. */
  readonly evenIfRunning?: boolean;
  /** The record's `token` as it was shown: what was found out about one attempt settles no other. Default: as it is now. */
  readonly token?: number;
}

export interface ActionResult {
  readonly id: string;
  readonly action: ActionName;
  /** The record after it; `null` where it is gone, or where the database could not be asked any more. */
  readonly record: RecordSummary | null;
}

/** The body of `./api/bulk`. */
export interface BulkRequest extends Omit<ActionRequest, 'token'> {
  readonly action: ActionName;
  /** 1 to {@link MAX_BULK}, each once. */
  readonly ids: readonly string[];
  /** By id, as `token` of one record. */
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

/** What is counted. Each process counts what it does itself, since it started. */
export interface Counts {
  /** Requests that won a record and ran, those that took over included. */
  readonly claims: number;
  readonly replays: number;
  /** Duplicates of a running request that were refused. */
  readonly conflicts: number;
  readonly takeOvers: number;
  /** Executions that ended without an outcome on record, and requests that were refused as store or lock were lost. */
  readonly failures: number;
  readonly completions: number;
  /** Outcomes that are unknown until someone resolves them. */
  readonly held: number;
  /** Keys that came with another request, or from another caller. */
  readonly mismatches: number;
}

export interface ActivityBucket extends Counts {
  /** When it begins. */
  readonly at: string;
}

export interface Activity {
  /** When this process began to count. */
  readonly since: string;
  /** Always true: it is what one process saw, and a restart forgets it. */
  readonly inMemory: true;
  readonly bucketSeconds: number;
  /** All that were counted since `since`. */
  readonly totals: Counts;
  /** Oldest first, without gaps, the last one still counting; at most 360 (an hour of 10 seconds each). */
  readonly buckets: readonly ActivityBucket[];
}

/** The first server-sent event, `hello`: what was missed is to be asked for. */
export interface HelloEvent {
  readonly now: string;
}

/** The server-sent event `tick`: once a second, where something happened in this process. */
export interface TickEvent {
  readonly now: string;
  readonly totals: Counts;
  /** Buckets that have changed since the last tick, whole. */
  readonly buckets: readonly ActivityBucket[];
  /** Records that changed, each once, with what happened last; at most 50. */
  readonly records: readonly { readonly id: string; readonly operation: string; readonly type: ChangeType }[];
  /** How many more records changed than `records` has. */
  readonly more: number;
}

/** What happened to a record: the `type` of an `IdempotencyEvent`, or what an operator did through this process. */
export type ChangeType =
  | 'claimed'
  | 'takenOver'
  | 'replayed'
  | 'replayUnavailable'
  | 'conflict'
  | 'waited'
  | 'mismatch'
  | 'leaseLost'
  | 'completed'
  | 'released'
  | 'notKept'
  | 'overran'
  | 'unrecorded'
  | 'held'
  | 'storeUnavailable'
  | 'lockDegraded'
  | 'lockUnavailable'
  | 'resolved'
  | 'forgotten';

export type ApiErrorCode =
  /** 400: a parameter or a body that cannot be used; `message` names it. */
  | 'bad-request'
  /** 400: a cursor of other filters, or of a table that has grown since: ask for the first page again. */
  | 'bad-cursor'
  /** 403: the request comes from another site, or a POST has not the header {@link REQUEST_HEADER}. */
  | 'cross-site'
  /** 403: the option `actions` is off. */
  | 'actions-off'
  /** 404: there is no such record. */
  | 'not-found'
  /** 409: the record is not held (any more). */
  | 'not-held'
  /** 409: another attempt has begun, or something else has changed, since the record was shown. */
  | 'changed'
  /** 409: an execution holds a lease on the record: see `evenIfRunning`. */
  | 'running'
  /** 415: a POST that is not JSON. */
  | 'not-json'
  /** 503: too many pages listen already, or the application is ending. */
  | 'too-many-clients'
  /** 503: the database could not be asked. */
  | 'store-unavailable'
  /** 500: a defect. The log has its stack. */
  | 'failed';

export interface ApiError {
  readonly error: { readonly code: ApiErrorCode; readonly message: string };
}
