import { type CallHandler, type ExecutionContext, Logger, RequestMethod } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { isWatched } from '../../decorators/watch-handler.js';
import type { IdempotencyEngine } from '../../engine/engine.js';
import { bindFingerprint, digestIdentity } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import { storedLabel } from '../../engine/stored-text.js';
import type { Tenure } from '../../engine/tenure.js';
import type { OperationOptions } from '../../options/operation-options.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../../options/resolved-options.js';
import { problemOf } from '../../problems/from-engine.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import { admit } from '../admit.js';
import { CredentialBinding } from '../credential-binding.js';
import { fingerprintOf, keyOf, scopeOf, usableKey } from '../option-values.js';
import type { StoreErrors } from '../run-end.js';
import { ScopeDigest } from '../scope-digest.js';
import type { AnonymousCallers } from './anonymous-callers.js';
import { type Exchange, exchangeOf, isExchange } from './exchange.js';
import { describeBriefly, describeRequest } from './fingerprint.js';
import { HttpRun } from './http-run.js';
import { readKeyHeader } from './key-header.js';
import { withPreference } from './prefer-wait.js';
import { principalOf } from './principal.js';
import { isNative } from './native-response.js';
import { runOf } from './request-run.js';
import { keepProblem, leaveResponse } from './kept-problem.js';
import { hostOf } from './request-host.js';
import { replay } from './replay.js';
import type { ApplicationFilters } from './application-filters.js';
import { StaleNonces } from './stale-nonces.js';
import { storedRequest } from './stored-request.js';
import { StreamHints } from './stream-hints.js';
import { streamedBodyOf } from './streamed-body.js';
import { removeTemporaryFiles } from './uploads.js';

/** Safe by definition (RFC 9110, section 9.2.1): never touched. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Nest's metadata key. */
const METHOD = 'method';

/** HTTP requests, on Express and Fastify. */
export class HttpEdge {
  private static readonly logger = new Logger('Idempotency');

  /** Admissions that go on. An interceptor outside that subscribes twice at once must not meet its own request as another one. */
  private readonly admitting = new WeakMap<object, Promise<unknown>>();
  private readonly lostUploads = new Set<string>();
  private readonly bindings: CredentialBinding;
  private readonly nonces = new StaleNonces();
  private readonly streams = new StreamHints();
  private readonly scopes: ScopeDigest;

  constructor(
    private readonly engine: IdempotencyEngine,
    private readonly module: ResolvedModuleOptions,
    private readonly operations: OperationOptions,
    private readonly settings: {
      readonly errors: StoreErrors;
      readonly filters: ApplicationFilters;
      readonly anonymous: AnonymousCallers;
    },
  ) {
    this.bindings = new CredentialBinding(module.encryption);
    this.scopes = new ScopeDigest(module);
  }

  intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> | Observable<unknown> {
    const options = this.operations.of(context.getClass(), context.getHandler());
    if (!options || !isExchange(context)) return next.handle();
    const exchange = exchangeOf(context);
    if (SAFE.has(exchange.method)) return next.handle();
    const run = runOf(exchange.rawRequest);
    if (run && !run.isOverUnanswered) {
      // Wired twice, this one is inside. Otherwise an interceptor outside tries again.
      return run.isWithin ? next.handle() : run.runAgain(() => next.handle());
    }
    const { rawRequest } = exchange;
    const other = this.admitting.get(rawRequest);
    if (other) return other.then(() => this.intercept(context, next));
    const admission = this.admit(context, next, exchange, options);
    const over = () => void this.admitting.delete(rawRequest);
    this.admitting.set(rawRequest, admission.then(over, over));
    return admission;
  }

  private async admit(
    context: ExecutionContext,
    next: CallHandler,
    exchange: Exchange,
    options: ResolvedOperationOptions,
  ): Promise<Observable<unknown>> {
    leaveResponse(exchange.rawResponse);
    try {
      const key = this.readKey(context, exchange, options);
      if (key === undefined) return next.handle();

      const { documentation } = this.module;
      const operation = await this.operation(context, exchange, options, key);
      const admission = await admit(this.engine, operation, documentation);
      switch (admission.kind) {
        case 'refuse':
          throw problemOf(admission.refusal, documentation);
        case 'replay':
          await removeTemporaryFiles(exchange.request);
          return replay(exchange, admission.outcome, this.nonces);
        case 'run':
          return this.run(context, exchange, options, admission.tenure).run(() => next.handle());
      }
    } catch (error) {
      await removeTemporaryFiles(exchange.request);
      if (error instanceof IdempotencyProblem) keepProblem(exchange.rawResponse, error);
      throw error;
    }
  }

  private run(
    context: ExecutionContext,
    exchange: Exchange,
    options: ResolvedOperationOptions,
    tenure: Tenure,
  ): HttpRun {
    const { errors, filters } = this.settings;
    const handler = context.getHandler();
    const { documentation } = this.module;
    return new HttpRun(tenure, exchange, {
      endpoint: options.operation ?? exchange.endpoint,
      options,
      documentation,
      errors,
      handler,
      watched: isWatched(handler),
      native: isNative(context.getClass(), handler),
      filter: (error) => filters.handle(error, context),
      noteStream: () => this.streams.note(exchange.endpoint),
    });
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
    const expected = options.key ? undefined : `This operation requires the ${header} header.`;
    return usableKey(reading, { required: options.required, expected, documentation });
  }

  private async operation(
    context: ExecutionContext,
    exchange: Exchange,
    options: ResolvedOperationOptions,
    key: string,
  ): Promise<Operation> {
    const { request } = exchange;
    const { fingerprint, operation } = options;
    const { namespace, credentials } = this.module;
    const endpoint = operation ?? exchange.endpoint;
    const principal = options.scope ? scopeOf(options.scope(context)) : principalOf(request, credentials, endpoint);
    if (!options.scope) this.settings.anonymous.note(context, principal, request, endpoint);
    const host = hostOf(context, request);
    const identity = digestIdentity({ namespace, host, scope: principal.scope, endpoint, key });
    const named = operation === undefined ? undefined : { operation, method: methodAmongSeveral(context, exchange) };
    const description =
      typeof fingerprint === 'object' ? await describeRequest(exchange, fingerprint, named) : describeBriefly(exchange);
    const { stream } = description;
    if (description.isIncomplete) this.warnOfLostUpload(endpoint);
    const text = typeof fingerprint === 'function' ? fingerprintOf(fingerprint(context)) : description.fingerprint;
    const bound = bindFingerprint(identity, text);
    return {
      key,
      recordId: identity.recordId,
      endpoint: storedLabel(endpoint),
      route: operation === undefined ? null : storedLabel(exchange.endpoint),
      scopeDigest: this.scopes.of(principal.scope),
      fingerprint: bound,
      input: stream && streamedBodyOf(stream, bound, exchange),
      ...this.bindings.of(identity, principal.credential),
      request: storedRequest(exchange, description, options.request, host),
      policy: withPreference(options.policy, request.headers.prefer),
    };
  }

  /** Once for each endpoint. */
  private warnOfLostUpload(endpoint: string): void {
    if (this.lostUploads.has(endpoint)) return;
    this.lostUploads.add(endpoint);
    HttpEdge.logger.warn(
      `${endpoint}: an upload cannot be compared with that of a retry: its content was read before @Idempotent(), and is neither ` +
        'in memory nor in a file. Two that differ by it alone count as one request. Let the interceptor that reads it stand ' +
        'after @Idempotent(), or set the option `fingerprint`',
    );
  }
}

/** The methods of `@All()` ask for different things of one operation, and there alone the method is not the route's. */
function methodAmongSeveral(context: ExecutionContext, { method }: Exchange): string {
  return Reflect.getMetadata(METHOD, context.getHandler()) === RequestMethod.ALL ? method : '';
}
