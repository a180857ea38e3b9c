import type { OperationOptions } from '../handlers/operation-options.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../options/resolved-options.js';
import type { ProblemCode } from '../problems/problem.js';
import type { CoveredRoute, Routes } from '../handlers/routes.js';

/**
 * The rules for idempotency keys, to publish: a resource has to document which keys it accepts and how long they are valid
 * (draft-ietf-httpapi-idempotency-key-header-07, section 2).
 */
export interface IdempotencyPolicy {
  /** Name of the request header. */
  readonly header: string;
  /** The option `keyFormat`; `pattern` is the source of a regular expression. */
  readonly key: { readonly minLength: number; readonly maxLength: number; readonly pattern: string };
  /** The option of this name, if it is set. */
  readonly documentation?: string;
  /** All handlers that `@Idempotent()` covers. */
  readonly operations: readonly OperationPolicy[];
}

/** The rules for keys of one operation. */
export interface OperationPolicy {
  /** Such as `PaymentsController.pay`. */
  readonly handler: string;
  /** The option `operation`, if it is set. */
  readonly operation?: string;
  /** What calls the handler. */
  readonly kind: 'http' | 'message' | 'event' | 'mutation';
  /** Whether a request without a key is refused. */
  readonly required: boolean;
  /** How long an outcome is replayed from its completion, in seconds. */
  readonly retentionSeconds: number;
  /** What a duplicate of a running request does. */
  readonly onConflict: 'reject' | 'wait';
  /** The longest wait of a duplicate, in seconds. Only with `wait`. */
  readonly waitSeconds?: number;
  /** What a retry after a crash does. */
  readonly afterCrash: 'rerun' | 'hold';
  /** The codes of the problems that the operation may answer with, except `record-unreadable`, which is a defect. */
  readonly problems: readonly ProblemCode[];
}

/** Whether requests identify who sent them. Messages do not. */
export const HAS_CALLER: Readonly<Record<CoveredRoute['kind'], boolean>> = {
  http: true,
  mutation: true,
  message: false,
  event: false,
};

export function policyOf(
  module: ResolvedModuleOptions,
  operations: OperationOptions,
  routes: Routes,
): IdempotencyPolicy {
  const { header, keyFormat, documentation } = module;
  return {
    header,
    key: { minLength: keyFormat.minLength, maxLength: keyFormat.maxLength, pattern: keyFormat.pattern.source },
    ...(documentation && { documentation }),
    operations: routes
      .idempotent()
      .map((route) => operationPolicy(route, operations.of(route.controller, route.handler)!)),
  };
}

export function operationPolicy(
  { name, kind, operation }: CoveredRoute,
  options: ResolvedOperationOptions,
): OperationPolicy {
  const { retentionMs, onConflict, waitTimeoutMs, afterCrash } = options.policy;
  return {
    handler: name,
    ...(operation !== undefined && { operation }),
    kind,
    required: options.required,
    retentionSeconds: Math.floor(retentionMs / 1_000),
    onConflict,
    ...(onConflict === 'wait' && { waitSeconds: Math.floor(waitTimeoutMs / 1_000) }),
    afterCrash,
    problems: [
      ...(options.required ? (['key-missing'] as const) : []),
      'key-invalid',
      ...(options.fingerprint === false ? [] : (['key-reused'] as const)),
      ...(options.scope || !HAS_CALLER[kind] ? [] : (['key-foreign'] as const)),
      'in-progress',
      'outcome-unknown',
      'replay-unavailable',
      'outcome-not-recorded',
      'store-unavailable',
    ],
  };
}
