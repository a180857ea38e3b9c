import { type CallHandler, type ExecutionContext, Logger } from '@nestjs/common';
import { type Observable, of } from 'rxjs';
import { isWatched } from '../../decorators/watch-handler.js';
import type { IdempotencyEngine } from '../../engine/engine.js';
import { bindFingerprint, digestIdentity } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { Policy } from '../../engine/policy.js';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { OperationOptions } from '../../options/operation-options.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../../options/resolved-options.js';
import { isOutage, problemOf, problemOfError } from '../../problems/from-engine.js';
import { IdempotencyKeyInvalidException, IdempotencyKeyMissingException } from '../../problems/problems.js';
import type { AnonymousCallers } from './anonymous-callers.js';
import { type Exchange, exchangeOf } from './exchange.js';
import { describeBriefly, describeRequest } from './fingerprint.js';
import { HttpRun } from './http-run.js';
import { checkKey, readKeyHeader } from './key-header.js';
import { preferredWait } from './prefer-wait.js';
import { type Principal, principalOf } from './principal.js';
import { mute } from './response-capture.js';
import { storedRequest } from './stored-request.js';
import { unpackHead } from './response-head.js';
import { resetHeaders, writeOutcome } from './write-response.js';

/** Safe by definition (RFC 9110, section 9.2.1): never touched. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** HTTP requests, on Express and Fastify. */
export class HttpEdge {
  private static readonly logger = new Logger('Idempotency');

  constructor(
    private readonly engine: IdempotencyEngine,
    private readonly module: ResolvedModuleOptions,
    private readonly operations: OperationOptions,
    private readonly isRetryable: (error: unknown) => boolean,
    private readonly anonymous: AnonymousCallers,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const exchange = exchangeOf(context);
    const options = this.operations.of(context.getClass(), context.getHandler());
    if (!options || SAFE.has(exchange.method) || isTaken(exchange)) return next.handle();
    const key = this.readKey(context, exchange, options);
    if (key === undefined) return next.handle();

    const { documentation } = this.module;
    const operation = await this.operation(context, exchange, options, key);
    const admission = await this.engine.admit(operation).catch((error: unknown) => {
      if (!isOutage(error)) HttpEdge.logger.error(`${exchange.endpoint}: ${String(error)}`, causeOf(error));
      throw problemOfError(error, documentation);
    });
    switch (admission.kind) {
      case 'refuse':
        throw problemOf(admission.refusal, documentation);
      case 'replay':
        return replay(exchange, admission.outcome);
      case 'run':
        take(exchange);
        return new HttpRun(admission.tenure, exchange, {
          options,
          documentation,
          isRetryable: this.isRetryable,
          watched: isWatched(context.getHandler()),
        }).run(() => next.handle());
    }
  }

  private readKey(
    context: ExecutionContext,
    exchange: Exchange,
    options: ResolvedOperationOptions,
  ): string | undefined {
    const { header, keyFormat, documentation } = this.module;
    const reading = options.key
      ? keyOf(options.key(context), keyFormat)
      : readKeyHeader(exchange.rawRequest.rawHeaders, header, keyFormat);
    switch (reading.kind) {
      case 'key':
        return reading.key;
      case 'invalid':
        throw new IdempotencyKeyInvalidException({ detail: reading.problem, documentation });
      case 'missing': {
        if (!options.required) return undefined;
        const detail = options.key ? undefined : `This operation requires the ${header} header.`;
        throw new IdempotencyKeyMissingException({ detail, documentation });
      }
    }
  }

  private async operation(
    context: ExecutionContext,
    exchange: Exchange,
    options: ResolvedOperationOptions,
    key: string,
  ): Promise<Operation> {
    const { endpoint, request } = exchange;
    const { fingerprint } = options;
    const { scope, binding } = options.scope ? scopeOf(options.scope(context)) : principalOf(request);
    if (!options.scope && scope === '' && !binding) this.anonymous.note(context, endpoint);
    const identity = digestIdentity({ scope, endpoint, key });
    const description =
      typeof fingerprint === 'object' ? await describeRequest(exchange, fingerprint) : describeBriefly(exchange);
    const text = typeof fingerprint === 'function' ? fingerprintOf(fingerprint(context)) : description.fingerprint;
    return {
      key,
      recordId: identity.recordId,
      endpoint: endpoint.slice(0, 255),
      fingerprint: bindFingerprint(identity, text),
      binding,
      request: storedRequest(exchange, description, this.module.request),
      policy: withPreference(options.policy, preferredWait(request.headers.prefer)),
    };
  }
}

/** A client may wait for less than the operation allows, never for more. */
function withPreference(policy: Policy, waitMs: number | undefined): Policy {
  return waitMs === undefined ? policy : { ...policy, waitTimeoutMs: Math.min(policy.waitTimeoutMs, waitMs) };
}

function causeOf(error: unknown): string | undefined {
  const { cause, stack } = error as Error;
  return cause instanceof Error ? cause.stack : stack;
}

function keyOf(key: unknown, format: ResolvedModuleOptions['keyFormat']) {
  if (key === undefined || key === null) return { kind: 'missing' } as const;
  if (typeof key !== 'string') throw new TypeError('The option `key` has to return a string or undefined.');
  return checkKey(key, 'idempotency key', format);
}

/** Types do not stop an `async` function: all its callers would share their keys. */
function scopeOf(scope: unknown): Principal {
  if (typeof scope !== 'string') throw new TypeError('The option `scope` has to return a string.');
  return { scope, binding: null };
}

function fingerprintOf(fingerprint: unknown): string | Uint8Array {
  if (typeof fingerprint === 'string' || fingerprint instanceof Uint8Array) return fingerprint;
  throw new TypeError('The option `fingerprint` has to return a string or bytes.');
}

/** Marks requests that are being run, so that an interceptor that is wired twice does its work once. */
const TAKEN = Symbol('nestjs-idempotency:taken');

function take({ rawRequest }: Exchange): void {
  (rawRequest as { [TAKEN]?: true })[TAKEN] = true;
}

function isTaken({ rawRequest }: Exchange): boolean {
  return TAKEN in rawRequest;
}

/**
 * Writes the stored response at once, since a handler with a native `@Res()` would leave nobody else to do it, and then
 * lets outer interceptors complete, on a response that no longer hears them.
 */
function replay(exchange: Exchange, outcome: StoredOutcome): Observable<unknown> {
  const { rawResponse } = exchange;
  resetHeaders(rawResponse, exchange.headers());
  exchange.silence();
  writeOutcome(rawResponse, outcome);
  mute(rawResponse);
  return of(valueOf(outcome));
}

/** What outer interceptors see of a replay: the body they once made of the handler's value, where it is JSON. */
function valueOf({ head, body }: StoredOutcome): unknown {
  const contentType = unpackHead(head).headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  if (!body || !String(contentType ?? '').includes('json')) return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
