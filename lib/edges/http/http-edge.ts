import type { CallHandler, ExecutionContext } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import type { Subscriber } from 'rxjs';
import type { Admission } from '../../engine/admission.js';
import type { IdempotencyEngine } from '../../engine/engine.js';
import { ShuttingDownError, UnreadableRecordError } from '../../engine/errors.js';
import { bindFingerprint, digestIdentity } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import { ShortLivedMap } from '../../engine/short-lived.js';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import { SAFE_METHODS } from '../../handlers/routes.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { problemOf } from '../../problems/from-engine.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import { admissionError } from '../shared/admission-error.js';
import { EndpointWarnings } from '../shared/endpoint-warnings.js';
import { fingerprintOf, keyOf, scopeOf, usableKey } from '../shared/option-values.js';
import type { StoreErrors } from '../shared/run-end.js';
import type { Callers } from '../shared/callers.js';
import type { ApplicationFilters } from './application-filters.js';
import { type Exchange, exchangeOf } from './exchange.js';
import { describeWithoutBody, describeRequest, type RequestDescription } from './fingerprint.js';
import { type HttpOperation, HttpOperations } from './http-operations.js';
import { HttpRun } from './http-run.js';
import { dropProblem, keepProblem } from './kept-problem.js';
import { readKeyHeader } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import { replay } from './replay.js';
import { runOf } from './response-interceptor.js';
import { StaleNonces } from './stale-nonces.js';
import { storedRequest } from '../content/request-to-keep.js';
import { streamedBodyOf } from './streamed-body.js';
import { removeTemporaryFiles } from './uploads.js';

const keyExpected = (header: string) => `This operation requires the ${header} header.`;

const LOST_UPLOAD =
  'an upload cannot be compared with that of a retry: its content was read before @Idempotent(), and is neither in memory nor ' +
  'in a file. Two that differ by it alone count as one request. Let the interceptor that reads it stand after ' +
  '@Idempotent(), or set the option `fingerprint`';

/** A subscription to the pipeline for a covered handler. */
interface Request {
  readonly context: ExecutionContext;
  readonly next: CallHandler;
  readonly exchange: Exchange;
  readonly operation: HttpOperation;
  readonly subscriber: Subscriber<unknown>;
  /** Set when the operation is submitted to the engine. */
  submitted?: Operation;
}

/** Admits HTTP requests on Express and Fastify, and runs, replays or refuses them. */
export class HttpEdge {
  readonly undecidedStreams = new EndpointWarnings();
  readonly openTransactions = new EndpointWarnings();
  private readonly lostUploads = new EndpointWarnings();
  /** Admissions in flight. Without them, an outer interceptor that subscribes twice would get 409 for its own request. */
  private readonly admitting = new ShortLivedMap<IncomingMessage, Promise<unknown>>();
  private readonly nonces = new StaleNonces();
  private readonly operations: HttpOperations;

  constructor(
    private readonly engine: IdempotencyEngine,
    private readonly module: ResolvedModuleOptions,
    options: OperationOptions,
    errors: StoreErrors,
    readonly filters: ApplicationFilters,
    private readonly callers: Callers,
  ) {
    this.operations = new HttpOperations(options, { documentation: module.documentation, errors });
  }

  /**
   * Handles a subscription to the pipeline. The admission continues when an outer interceptor unsubscribes meanwhile: the run must
   * give back a record that it has claimed by then.
   */
  handle(context: ExecutionContext, next: CallHandler, subscriber: Subscriber<unknown>): void {
    const exchange = exchangeOf(context);
    const operation = exchange && !SAFE_METHODS.has(exchange.method) && this.operations.of(context, exchange);
    if (!operation) return void next.handle().subscribe(subscriber);
    const { rawRequest } = exchange;
    const run = runOf(exchange.rawResponse);
    if (run && !run.isOverUnanswered) {
      // The request comes from a second @Idempotent() inside the run, or from an outer interceptor that retries.
      if (run.isWithin) next.handle().subscribe(subscriber);
      else run.runAgain(next, subscriber);
      return;
    }
    const pending = this.admitting.get(rawRequest);
    if (pending) void pending.then(() => this.handle(context, next, subscriber));
    else this.admit({ context, next, exchange, operation, subscriber });
  }

  private admit(request: Request): void {
    const { exchange } = request;
    const { rawRequest, rawResponse } = exchange;
    dropProblem(rawResponse);
    try {
      const key = this.readKey(request);
      if (key === undefined) return void request.next.handle().subscribe(request.subscriber);
      const admission = this.admission(request, key);
      if (!(admission instanceof Promise)) return this.onAdmission(request, admission);
      const followed = admission.then(
        (admitted) => {
          this.admitting.delete(rawRequest);
          this.onAdmission(request, admitted);
        },
        (error: unknown) => {
          this.admitting.delete(rawRequest);
          this.refuse(request, error);
        },
      );
      this.admitting.set(rawRequest, followed);
    } catch (error) {
      this.refuse(request, error);
    }
  }

  private admission(request: Request, key: string): Admission | Promise<Admission> {
    const { exchange, operation } = request;
    const { fingerprint } = operation.options;
    const description =
      typeof fingerprint === 'object'
        ? describeRequest(exchange, fingerprint, operation)
        : describeWithoutBody(exchange);
    return description instanceof Promise
      ? description.then((described) => this.submit(request, key, described))
      : this.submit(request, key, description);
  }

  private submit(request: Request, key: string, description: RequestDescription): Admission | Promise<Admission> {
    const { context, exchange, operation } = request;
    const { endpoint, options } = operation;
    const { fingerprint, scope } = options;
    const { namespace } = this.module;
    const principal = scope ? scopeOf(scope(context)) : this.callers.of(exchange.request, operation);
    const host = operation.hasHosts ? (exchange.request.hostname ?? '') : undefined;
    const identity = digestIdentity({ namespace, host, scope: principal.scope, endpoint, key });
    const { stream, mediaType, content } = description;
    let { json } = description;
    if (description.isIncomplete) this.lostUploads.warn(endpoint, LOST_UPLOAD);
    const text = typeof fingerprint === 'function' ? fingerprintOf(fingerprint(context)) : description.fingerprint;
    const boundFingerprint = bindFingerprint(identity, text);
    const { binding, isFormerBinding } = this.callers.bindings.of(identity, principal.credential);
    request.submitted = {
      key,
      recordId: identity.recordId,
      endpoint: operation.label,
      route: operation.route,
      scopeDigest: this.callers.scopes.of(principal.scope),
      fingerprint: boundFingerprint,
      input: stream && streamedBodyOf(stream, boundFingerprint, exchange),
      binding,
      isFormerBinding,
      request: () => storedRequest(exchange, { mediaType, content, json }, options.request, host),
      policy: withPreference(options.policy, exchange.request.headers.prefer),
    };
    const admission = this.engine.admit(request.submitted);
    // A claim has stored the JSON by now. To keep it would hold a second copy of the body for as long as the request runs or waits.
    // A request that claims only after it has waited writes the JSON again.
    json = undefined;
    return admission;
  }

  private onAdmission(request: Request, admission: Admission): void {
    const { context, exchange, operation, next, subscriber } = request;
    try {
      switch (admission.kind) {
        case 'run':
          return new HttpRun(this, admission.leased, context, exchange, operation).start(next, subscriber);
        case 'replay':
          return this.replay(request, admission.outcome);
        case 'refuse':
          throw problemOf(admission.refusal, this.module.documentation);
      }
    } catch (error) {
      if (error instanceof UnreadableRecordError) this.refuse(request, error);
      else this.fail(request, error);
    }
  }

  private replay(request: Request, outcome: StoredOutcome): void {
    const { exchange, subscriber } = request;
    const removal = removeTemporaryFiles(exchange.request);
    if (!removal) return replay(exchange, outcome, this.nonces, subscriber);
    removal
      .then(() => replay(exchange, outcome, this.nonces, subscriber))
      .catch((error: unknown) => this.refuse(request, error));
  }

  private refuse(request: Request, error: unknown): void {
    const { submitted } = request;
    const { documentation } = this.module;
    // A balancer sends new connections elsewhere. On this one, the retry would come back to the process that is shutting down.
    if (error instanceof ShuttingDownError) request.exchange.rawResponse.shouldKeepAlive = false;
    this.fail(request, submitted ? admissionError(this.engine, submitted, error, documentation) : error);
  }

  private fail({ exchange, subscriber }: Request, error: unknown): void {
    const respond = () => {
      if (error instanceof IdempotencyProblem) keepProblem(exchange.rawResponse, error);
      subscriber.error(error);
    };
    const removal = removeTemporaryFiles(exchange.request);
    if (removal) void removal.then(respond);
    else respond();
  }

  private readKey({ context, exchange, operation }: Request): string | undefined {
    const { options } = operation;
    const key = options.key
      ? keyOf(options.key(context), this.module)
      : readKeyHeader(exchange.request.headers, exchange.rawRequest.rawHeaders, this.module);
    return usableKey(key, options, this.module, keyExpected);
  }
}
