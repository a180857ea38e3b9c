import { setImmediate } from 'node:timers';
import type { CallHandler, ExecutionContext } from '@nestjs/common';
import type { Subscriber } from 'rxjs';
import type { IdempotencyEngine } from '../../engine/engine.js';
import type { Execution } from '../../engine/execution.js';
import { bindFingerprint, digestIdentity } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { Policy } from '../../engine/policy.js';
import { storedLabel } from '../../engine/stored-text.js';
import type { ValueClasses } from '../../engine/value-json.js';
import { GraphQLClasses } from '../../handlers/graphql-classes.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import { isWatched, watchedBehind } from '../../handlers/watch-handler.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from '../../options/resolved-options.js';
import { problemOf, problemOfError } from '../../problems/from-engine.js';
import type { Callers } from '../shared/callers.js';
import type { Principal } from '../caller/principal.js';
import { canonicalJson } from '../content/canonical-json.js';
import { comparedContent } from '../content/json-pointer.js';
import { requestToKeep } from '../content/request-to-keep.js';
import { unpackAnswer } from '../content/value-outcome.js';
import { admissionError } from '../shared/admission-error.js';
import { fingerprintOf, keyOf, scopeOf, usableKey } from '../shared/option-values.js';
import type { StoreErrors } from '../shared/run-end.js';
import { OpenTransactions } from './open-transactions.js';
import { PipelineRun, sendAnswer } from './pipeline-run.js';

/** A subscription to the pipeline, as Nest gives it to an interceptor. */
export interface PipelineCall {
  readonly context: ExecutionContext;
  readonly next: CallHandler;
  /** The outer interceptors. */
  readonly subscriber: Subscriber<unknown>;
}

/** A request to a handler that answers with values: a message, or a field of a mutation. */
export interface ValueRequest {
  readonly options: ResolvedOperationOptions;
  /** The option `operation`, or else `route`. */
  readonly endpoint: string;
  /**
   * What identifies the operation, where a part of that is the client's choice, as an alias. Default: `endpoint`, which logs and metrics
   * have: a client must not choose what they count by.
   */
  readonly identity?: string;
  /** What the transport calls the handler: `RPC orders.create`, `MUTATION pay`. */
  readonly route: string;
  readonly policy: Policy;
  /** Stored with the input. Without the option `operation`, it is also compared. */
  readonly head: Readonly<Record<string, string>>;
  /** Returns what is compared instead of `head` with the option `operation`, because routes may change between releases. */
  readonly parameters: () => readonly string[];
  /** Returns the detail of the problem for a missing key. */
  readonly keyExpected: (header: string) => string;
  /** Reads the key, unless the option `key` does. */
  readonly readKey: () => string | undefined;
  /** Returns a header for `fingerprint.headers`. */
  readonly header: (name: string) => string | undefined;
  /** Returns what the handler works on. */
  readonly input: () => unknown;
  /** Returns the caller, unless the option `scope` does. */
  readonly principal: () => Principal;
  /** Called with the problem of a request that does not run, before the caller gets it. */
  readonly onRefused?: (error: unknown) => void;
  /** Whether its sender does not ask again. It begins during a shutdown, and although no subscriber is left. */
  readonly isEvent?: boolean;
  /** Returns what a record keeps of a value, or the promise of it, if it is not the value itself. */
  readonly serialize?: Serialize | undefined;
  /** Classes whose instances a replay restores. */
  readonly classes?: ValueClasses;
  /** See {@link RunSettings.failsByValue}. */
  readonly failsByValue?: boolean;
}

export type Serialize = (value: unknown) => unknown;

/** The format of {@link fingerprintText}. A change of it needs a new version, or retries of older records are refused. */
const FORMAT = 'values v1';

/** Admits requests that are answered with values, and runs, replays or refuses them: messages and mutations. */
export class ValueEdge {
  /** The executions of running requests, by their arguments. */
  private readonly running = new WeakMap<object, Execution>();
  private readonly openTransactions = new OpenTransactions('interceptor');
  private knownTypes: GraphQLClasses | undefined;

  constructor(
    private readonly engine: IdempotencyEngine,
    readonly module: ResolvedModuleOptions,
    readonly operations: OperationOptions,
    private readonly errors: StoreErrors,
    readonly callers: Callers,
    readonly serializers: { of(context: ExecutionContext): Serialize | undefined },
  ) {}

  /** The classes with `@ObjectType()`. Read at the first mutation, when all schemas are built. */
  get objectTypes(): GraphQLClasses {
    return (this.knownTypes ??= new GraphQLClasses());
  }

  /**
   * Runs, replays or refuses a request. One without a key passes through where the operation does not require a key.
   *
   * The admission continues when an outer interceptor unsubscribes meanwhile: the run must give back a record that it has claimed by
   * then.
   *
   * @param requestOf returns `undefined` for a handler that is not idempotent, whose calls pass through
   */
  handle(
    call: PipelineCall,
    requestOf: (context: ExecutionContext, edge: ValueEdge) => ValueRequest | undefined,
  ): void {
    const request = requestOf(call.context, this);
    if (!request) return void call.next.handle().subscribe(call.subscriber);
    this.admit(call, request).catch((error: unknown) => {
      request.onRefused?.(error);
      // Nest joins the listeners of an event by forkJoin(). An error in the same turn would keep the later ones from being called.
      setImmediate(() => call.subscriber.error(error));
    });
  }

  private async admit({ context, next, subscriber }: PipelineCall, request: ValueRequest): Promise<void> {
    const args = context.getArgs();
    const key = this.isWiredTwice(args) ? undefined : this.readKey(context, request);
    if (key === undefined) return void next.handle().subscribe(subscriber);
    const { documentation } = this.module;
    const operation = await this.operationOf(context, request, key);
    const admission = await this.orProblem(operation, () => this.engine.admit(operation));
    switch (admission.kind) {
      case 'refuse':
        throw problemOf(admission.refusal, documentation);
      case 'replay':
        return sendAnswer(
          subscriber,
          await this.orProblem(operation, () => unpackAnswer(admission.outcome, request.classes)),
        );
      case 'run': {
        this.running.set(args, admission.leased.execution);
        const { endpoint, options, classes, failsByValue, serialize } = request;
        const { errors } = this;
        const handler = watchedBehind(context.getHandler());
        const watched = isWatched(handler);
        const settings = { endpoint, options, documentation, errors, handler, watched, classes, failsByValue };
        return new PipelineRun(
          admission.leased,
          settings,
          subscriber,
          this.openTransactions,
          serialize,
          request.isEvent,
        )
          .run(
            () => next.handle(),
            () => this.running.delete(args),
          )
          .catch((error: unknown) => subscriber.error(problemOfError(error, documentation)));
      }
    }
  }

  /**
   * Returns whether the call comes from within the run of its own request, as that of an interceptor that is wired twice. It would get
   * 409 for its own request. A call from outside, by an interceptor that has given up on the run and tries again, must not pass:
   * its handler would run beside the first.
   */
  private isWiredTwice(args: object): boolean {
    return this.running.get(args)?.includesCaller === true;
  }

  /** @throws IdempotencyKeyMissingException, IdempotencyKeyInvalidException */
  private readKey(context: ExecutionContext, { options, readKey, keyExpected }: ValueRequest): string | undefined {
    const key = options.key ? keyOf(options.key(context), this.module) : readKey();
    return usableKey(key, options, this.module, keyExpected);
  }

  private async operationOf(context: ExecutionContext, request: ValueRequest, key: string): Promise<Operation> {
    const { options, endpoint, identity: named = endpoint, route, head, policy } = request;
    const { scope, credential } = options.scope ? scopeOf(options.scope(context)) : request.principal();
    const identity = digestIdentity({ namespace: this.module.namespace, scope, endpoint: named, key });
    const input = await request.input();
    return {
      key,
      recordId: identity.recordId,
      endpoint: storedLabel(endpoint),
      route: options.operation === undefined ? null : storedLabel(route),
      scopeDigest: this.callers.scopes.of(scope),
      fingerprint: bindFingerprint(identity, fingerprintText(context, request, input)),
      ...this.callers.bindings.of(identity, credential),
      request: () => requestToKeep({ head: JSON.stringify(head), member: 'input', content: input }, options.request),
      policy,
      beginsInDrain: request.isEvent ?? false,
    };
  }

  /** Logs an error of the engine, and throws the problem for it. */
  private async orProblem<T>(operation: Operation, ask: () => T | Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      throw admissionError(this.engine, operation, error, this.module.documentation);
    }
  }
}

function fingerprintText(context: ExecutionContext, request: ValueRequest, input: unknown): string | Uint8Array {
  const { options, endpoint, identity = endpoint, head, parameters, header } = request;
  const { fingerprint, operation } = options;
  if (typeof fingerprint === 'function') return fingerprintOf(fingerprint(context));
  if (fingerprint === false) return '';
  const { headers = [] } = fingerprint;
  const lines = [FORMAT, identity, canonicalJson(operation === undefined ? head : parameters())];
  for (const name of headers) lines.push(`${name}: ${header(name) ?? ''}`);
  const text = `${lines.join('\n')}\n\n`;
  return input instanceof Uint8Array
    ? Buffer.concat([Buffer.from(`${text}bytes `), input])
    : `${text}json ${canonicalJson(comparedContent(input, fingerprint))}`;
}
