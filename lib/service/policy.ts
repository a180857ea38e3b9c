import type { OperationOptions } from '../handlers/operation-options.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../options/resolved-options.js';
import type { ProblemCode } from '../problems/problem.js';
import type { Route, Routes } from '../handlers/routes.js';

/**
 * The rules for idempotency keys, to be published: the draft wants a resource to say which keys it takes and how long
 * they are good for (draft-ietf-httpapi-idempotency-key-header-07, section 2).
 */
export interface IdempotencyPolicy {
  /** Name of the request header. */
  readonly header: string;
  readonly key: { readonly minLength: number; readonly maxLength: number; readonly pattern: string };
  readonly documentation?: string;
  readonly operations: readonly OperationPolicy[];
}

/** The rules for keys of one operation. */
export interface OperationPolicy {
  /** Such as `PaymentsController.pay`. */
  readonly handler: string;
  /** The option `operation`, where it has one. */
  readonly operation?: string;
  /** How requests come to it. */
  readonly kind: 'http' | 'message' | 'event' | 'mutation';
  readonly required: boolean;
  /** How long an outcome is replayed, in seconds from its completion. */
  readonly retentionSeconds: number;
  /** What a duplicate of a running request does; with `wait`, for so many seconds at the most. */
  readonly onConflict: 'reject' | 'wait';
  readonly waitSeconds?: number;
  /** What a retry after a crash does. */
  readonly afterCrash: 'rerun' | 'hold';
  /** Codes of the problems that the operation may answer with. */
  readonly problems: readonly ProblemCode[];
}

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

export function operationPolicy({ name, kind, operation }: Route, options: ResolvedOperationOptions): OperationPolicy {
  const { retentionMs, onConflict, waitTimeoutMs, afterCrash } = options.policy;
  return {
    handler: name,
    ...(operation !== undefined && { operation }),
    kind: kind as OperationPolicy['kind'],
    required: options.required,
    retentionSeconds: Math.floor(retentionMs / 1_000),
    onConflict,
    ...(onConflict === 'wait' && { waitSeconds: Math.floor(waitTimeoutMs / 1_000) }),
    afterCrash,
    problems: [
      ...(options.required ? (['key-missing'] as const) : []),
      'key-invalid',
      ...(options.fingerprint === false ? [] : (['key-reused'] as const)),
      ...(options.scope || !hasCaller(kind) ? [] : (['key-foreign'] as const)),
      'in-progress',
      ...(afterCrash === 'hold' ? (['outcome-unknown'] as const) : []),
      'replay-unavailable',
      'outcome-not-recorded',
      'store-unavailable',
    ],
  };
}

/** Messages say nothing of who sends them. */
function hasCaller(kind: Route['kind']): boolean {
  return kind === 'http' || kind === 'mutation';
}
