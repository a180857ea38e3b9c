import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { from, mergeMap, Observable } from 'rxjs';
import { isWatched, watchedBehind } from '../../handlers/watch-handler.js';
import type { IdempotencyEngine } from '../../engine/engine.js';
import { bindFingerprint, digestIdentity } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { Policy } from '../../engine/policy.js';
import { storedLabel } from '../../engine/stored-text.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../../options/resolved-options.js';
import { problemOf } from '../../problems/from-engine.js';
import { admissionError, admit } from '../shared/admit.js';
import { canonicalJson } from '../content/canonical-json.js';
import { CredentialBinding } from '../caller/caller-digests.js';
import { comparedContent } from '../content/json-pointer.js';
import type { KeyReading } from '../shared/key-header.js';
import type { Principal } from '../caller/principal.js';
import { fingerprintOf, keyOf, scopeOf, usableKey } from '../shared/option-values.js';
import { PipelineRun, tell } from './pipeline-run.js';
import { requestToKeep } from '../content/request-to-keep.js';
import type { StoreErrors } from '../shared/run-end.js';
import { ScopeDigest } from '../caller/caller-digests.js';
import { type Answer, unpackAnswer } from '../content/value-outcome.js';

/** What an edge knows of a request that is answered with values. */
export interface ValueRequest {
  readonly endpoint: string;
  /** What replaces `endpoint` where the operation has no name; `null` where it has none. */
  readonly route: string | null;
  readonly policy: Policy;
  /** What is stored of the request beside its input, where requests are. */
  readonly head: Readonly<Record<string, string>>;
  /** The part that distinguishes this request from another one with the same key. */
  readonly compared: Readonly<Record<string, string>> | readonly string[];
  /** Names and values of `fingerprint.headers`. */
  readonly header: (name: string) => string | undefined;
  readonly input: unknown;
  /** Where the operation has no option `scope`. */
  readonly principal: () => Principal;
}

/** Bumped when the same request would be described otherwise: records of an older version then do not match. */
const FORMAT = 'values v1';

/** What message handlers and GraphQL mutations have in common: they answer with values. */
export class ValueEdge {
  /** The arguments of the requests that are being run: an interceptor that is wired twice does its work once. */
  private readonly running = new WeakSet<object>();
  private readonly bindings: CredentialBinding;
  private readonly scopes: ScopeDigest;

  constructor(
    private readonly engine: IdempotencyEngine,
    readonly module: ResolvedModuleOptions,
    private readonly errors: StoreErrors,
  ) {
    this.bindings = new CredentialBinding(module.encryption);
    this.scopes = new ScopeDigest(module);
  }

  isRunning(context: ExecutionContext): boolean {
    return this.running.has(context.getArgs());
  }

  /**
   * The key of the option `key`, or where there is none, what `otherwise` reads; `undefined` where the request has none
   * and needs none.
   *
   * @param expected the detail of the problem for a request without a key
   * @throws IdempotencyKeyMissingException, IdempotencyKeyInvalidException
   */
  readKey(
    context: ExecutionContext,
    options: ResolvedOperationOptions,
    otherwise: () => KeyReading,
    expected: string,
  ): string | undefined {
    const { keyFormat, documentation } = this.module;
    const reading = options.key ? keyOf(options.key(context), keyFormat) : otherwise();
    return usableKey(reading, {
      required: options.required,
      expected: options.key ? undefined : expected,
      documentation,
    });
  }

  /** Runs the request, answers it from the record, or refuses it. */
  async handle(
    context: ExecutionContext,
    next: CallHandler,
    options: ResolvedOperationOptions,
    key: string,
    request: ValueRequest,
  ): Promise<Observable<unknown>> {
    const { endpoint, route, policy } = request;
    const { documentation } = this.module;
    const { scope, credential } = options.scope ? scopeOf(options.scope(context)) : request.principal();
    const identity = digestIdentity({ namespace: this.module.namespace, scope, endpoint, key });
    const { fingerprint } = options;
    const text =
      typeof fingerprint === 'function' ? fingerprintOf(fingerprint(context)) : describe(request, fingerprint);
    const operation: Operation = {
      key,
      recordId: identity.recordId,
      endpoint: storedLabel(endpoint),
      route: route === null ? null : storedLabel(route),
      scopeDigest: this.scopes.of(scope),
      fingerprint: bindFingerprint(identity, text),
      ...this.bindings.of(identity, credential),
      request: () =>
        requestToKeep({ head: JSON.stringify(request.head), member: 'input', content: request.input }, options.request),
      policy,
    };
    const admission = await admit(this.engine, operation, documentation);
    switch (admission.kind) {
      case 'refuse':
        throw problemOf(admission.refusal, documentation);
      case 'replay':
        return from(this.read(operation, admission.outcome)).pipe(
          mergeMap((answer) => new Observable((subscriber) => tell(subscriber, answer))),
        );
      case 'run': {
        const args = context.getArgs();
        this.running.add(args);
        const { errors } = this;
        const handler = watchedBehind(context.getHandler());
        const watched = isWatched(handler);
        const run = new PipelineRun(admission.leased, { endpoint, options, documentation, errors, handler, watched });
        return run.run(
          () => next.handle(),
          () => this.running.delete(args),
        );
      }
    }
  }

  private async read(operation: Operation, outcome: StoredOutcome): Promise<Answer> {
    try {
      return await unpackAnswer(outcome);
    } catch (error) {
      throw admissionError(this.engine, operation, error, this.module.documentation);
    }
  }
}

function describe(
  { endpoint, compared, header, input }: ValueRequest,
  fingerprint: Exclude<ResolvedOperationOptions['fingerprint'], (...args: never[]) => unknown>,
): string | Uint8Array {
  if (fingerprint === false) return '';
  const { headers = [] } = fingerprint;
  const lines = [
    FORMAT,
    endpoint,
    canonicalJson(compared),
    ...headers.map((name) => `${name}: ${header(name) ?? ''}`),
    '',
  ];
  return input instanceof Uint8Array
    ? Buffer.concat([Buffer.from(`${lines.join('\n')}\nbytes `), input])
    : `${lines.join('\n')}\njson ${canonicalJson(comparedContent(input, fingerprint))}`;
}
