import { type CallHandler, type ExecutionContext, Logger } from '@nestjs/common';
import type { OutgoingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Subscriber } from 'rxjs';
import { current, CurrentExecution, runWithin } from '../../engine/current-execution.js';
import { TooLateError } from '../../engine/handler-calls.js';
import { TOMBSTONE } from '../../engine/outcome.js';
import type { HandlerResult, RecordingResult, Runner, LeasedExecution } from '../../engine/leased-execution.js';
import { REJECTED_BY_PIPES } from '../../private-names/nest.js';
import { errorOfHandler, problemOfError } from '../../problems/from-engine.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import { outcomeToKeep } from '../content/response-to-keep.js';
import type { EndpointWarnings } from '../shared/endpoint-warnings.js';
import {
  answerInstead,
  STORE_WITHOUT_RESPONSE,
  isStream,
  isWorkToBeDone,
  storedResult,
  unstoredResult,
} from '../shared/run-end.js';
import type { ApplicationFilters } from './application-filters.js';
import type { Exchange } from './exchange.js';
import type { HttpOperation } from './http-operations.js';
import { type PassListener, PipelinePass } from './pipeline-pass.js';
import { type CapturedResponse, type CaptureListener, ResponseCapture } from './response-capture.js';
import { interceptorOf, discardWrites } from './response-interceptor.js';
import { headSince, packHead } from '../content/response-head.js';
import { keepSource, sourceOf } from './response-stream.js';
import { isWebResponse, writeWebResponse } from './web-response.js';
import { writeOutcome, writeProblem } from './write-response.js';

/** How long a run waits for an unlikely response after its client has disconnected. */
const GRACE_AFTER_CLOSE_MS = 1_000;

export interface HttpRunHost {
  readonly filters: ApplicationFilters;
  readonly undecidedStreams: EndpointWarnings;
}

/**
 * The states of a run.
 *
 * - `'running'`: the pipeline runs. The run is open until the capture reports a response, of which `writer` says whose it is. That
 *   response is held, or sent as it is written. Left for `'recording'` when the operation has settled.
 * - `'recording'`: the handler's result is final, and the store records it. The handler is not called again. Left for `'over'` when
 *   the store has answered.
 * - `'over'`: the result is recorded, and the response is sent.
 */
type Phase = 'running' | 'recording' | 'over';

/**
 * Who wrote a response: the handler (by `@Res()`), an inner interceptor, or code outside of the execution, which is the framework or a
 * foreign writer such as a timeout middleware.
 */
type Writer = 'handler' | 'interceptor' | 'outside';

/**
 * Runs the inner pipeline for the request that owns the record. Holds the response until its outcome is committed, and then sends
 * it: a client that saw a response must get the same one from a retry.
 *
 * The run never unsubscribes from the handler. When a client or an outer interceptor gives up, the handler still runs. If its key
 * became free before it ended, a retry would run it a second time.
 */
export class HttpRun implements Runner, PassListener, CaptureListener {
  private static readonly logger = new Logger('Idempotency');

  private readonly current: CurrentExecution;
  /**
   * The async context of the outer interceptors, in which their callbacks run. An interceptor that retries subscribes from such a
   * callback. From the execution's context, its pass would look like a second `@Idempotent()` on the same request, and
   * what it wrote would be rolled back.
   */
  private readonly outerContext = current();
  private readonly capture: ResponseCapture;
  private readonly headersBefore: OutgoingHttpHeaders;
  private phase: Phase = 'running';
  /** Set when the capture reports a response. A run may end without one. */
  private writer: Writer | undefined;
  private next!: CallHandler;
  /** The latest pass. It decides the result. */
  private pass!: PipelinePass;
  private openPasses = 0;
  /** Whether the handler failed after its response, which rolls its transaction back. The response must not be sent then. */
  private failedAfterResponse = false;
  private onChange: (() => void) | undefined;

  constructor(
    private readonly host: HttpRunHost,
    private readonly leased: LeasedExecution,
    private readonly context: ExecutionContext,
    private readonly exchange: Exchange,
    private readonly operation: HttpOperation,
  ) {
    const { response, policy } = operation.options;
    this.current = CurrentExecution.of(leased.execution, operation.handler);
    interceptorOf(exchange.rawResponse).run = this;
    this.headersBefore = exchange.headers();
    this.capture = new ResponseCapture(exchange.rawResponse, response, policy.leaseMs, this);
  }

  start(next: CallHandler, subscriber: Subscriber<unknown>): void {
    this.next = next;
    this.pass = new PipelinePass(this.current, subscriber, this);
    this.leased.run(this);
  }

  begin(): void {
    const { subscriber } = this.pass;
    // An outer interceptor, such as a timeout, has already answered.
    if (subscriber.closed) return this.end({ kind: 'discard' });
    subscriber.add(this.pass);
    const { rawResponse } = this.exchange;
    if (rawResponse.closed) this.onClose();
    else rawResponse.on('close', () => this.onClose());
    runWithin(this.current, follow, this, this.pass);
  }

  /** Whether another pass may still decide the outcome, because there is no response yet. */
  private get isOpen(): boolean {
    return this.phase === 'running' && !this.writer;
  }

  get isWithin(): boolean {
    return this.pass.phase !== 'ended' && current()?.pass === this.pass.current;
  }

  get isOverUnanswered(): boolean {
    return this.phase === 'over' && !this.writer;
  }

  runAgain(next: CallHandler, subscriber: Subscriber<unknown>): void {
    if (!this.isOpen) return subscriber.error(new TooLateError());
    this.next = next;
    const pass = (this.pass = new PipelinePass(this.current.forAnotherPass(), subscriber, this));
    subscriber.add(pass);
    const { watched, options } = this.operation;
    if (watched || !options.policy.transactional) return runWithin(pass.current, follow, this, pass);
    // An unwatched handler gets a new transaction with each pass, or a retry would commit what the failed pass wrote.
    void this.settled()
      .then(() => this.leased.restartTransaction())
      .then((run) => run(() => runWithin(pass.current, follow, this, pass)))
      .catch((error: unknown) => subscriber.error(error));
  }

  follow(pass: PipelinePass): void {
    this.openPasses++;
    // An unwatched handler counts as running until its pass ends.
    if (!this.operation.watched) pass.call = this.current.calls.begin();
    this.next.handle().subscribe(pass);
  }

  onValue(pass: PipelinePass, value: unknown): void {
    const { rawResponse, status } = this.exchange;
    const streams = this.operation.options.response.stream;
    pass.advance('emitted', status, this.isHandlerRunning);
    pass.isStream = !streams && (isStream(value) || isWebResponse(value));
    pass.source = sourceOf(value);
    if (streams && pass.source) keepSource(pass.source, rawResponse);
    // Nest cancels the body of a Response whose client has gone, and writes nothing.
    if (rawResponse.closed && isWebResponse(value) && !value.bodyUsed) pass.unsent = value.clone();
    runWithin(this.outerContext, next, pass.subscriber, value);
  }

  onError(pass: PipelinePass, thrown: unknown): void {
    const error = errorOfHandler(thrown, this.operation.documentation);
    if (pass.call) this.current.calls.settle(pass.call, 'failed', error);
    pass.thrown = { error, isClientAbort: this.isClientAbort(error) };
    this.onPassed(pass);
    runWithin(this.outerContext, fail, pass.subscriber, error);
  }

  onComplete(pass: PipelinePass): void {
    if (pass.call) this.current.calls.settle(pass.call, 'succeeded');
    this.onPassed(pass);
    runWithin(this.outerContext, complete, pass.subscriber);
  }

  private onPassed(pass: PipelinePass): void {
    this.openPasses--;
    pass.advance('ended', this.exchange.status, this.isHandlerRunning);
    this.onChange?.();
  }

  /** Whether the handler is known to run. The call of an unwatched handler ends with its pass. */
  private get isHandlerRunning(): boolean {
    return this.operation.watched && this.current.calls.state === 'running';
  }

  /**
   * Returns whether a native handler failed only because it sent its response to a client that had disconnected. Never in a
   * transaction, which any error rolls back.
   */
  private isClientAbort(error: unknown): boolean {
    const { native, options } = this.operation;
    if (!native || options.policy.transactional) return false;
    const isGone = this.exchange.rawResponse.closed && this.capture.hasResponse;
    return isGone && (error as { code?: unknown } | null | undefined)?.code === 'ERR_STREAM_PREMATURE_CLOSE';
  }

  onUndecided(): void {
    this.host.undecidedStreams.warn(
      this.operation.template,
      'the response is a stream, by its type or by flushHeaders(): after a second at most it passes, and is not replayed. Set ' +
        '`response: { stream: true }` to send it as it is written, or `false` to hold it until its end',
    );
  }

  onResponse(captured: CapturedResponse): void {
    if (this.phase !== 'running') return;
    this.writer = this.currentWriter();
    this.onChange?.();
    if (this.neverBegan() && (captured.status >= 400 || this.pass.thrown)) return this.end({ kind: 'discard' });
    if (!this.isOfOperation(captured)) return void this.sendForeign(captured.status);
    if (captured.isStreamed || this.worksInTransaction(captured)) return void this.sendStreamed(captured);
    if (!captured.body && (this.isBusy || this.isNative)) return void this.sendUnstorable(captured);
    void this.endWith(captured);
  }

  private currentWriter(): Writer {
    const writer = current();
    if (writer?.execution !== this.current.execution) return 'outside';
    if (this.operation.native || (writer.isCall && this.current.calls.state === 'running')) return 'handler';
    return this.openPasses > 0 ? 'interceptor' : 'outside';
  }

  /**
   * Returns whether the operation itself wrote a response. One that is written while the handler runs is foreign, such as a timeout
   * middleware's 503. If it were stored, a retry would replay the 503 of a payment that went through. Two writers are exceptions: a
   * handler that has the response by `@Res()`, and an inner interceptor that does the work after the handler has returned, as oRPC's
   * does.
   */
  private isOfOperation({ status }: CapturedResponse): boolean {
    const { state } = this.current.calls;
    if (this.writer === 'handler') return true;
    if (this.writer === 'interceptor') return state === 'succeeded';
    // The first chunk of a generator; an error while it runs is foreign.
    if (this.isBusy) return this.current.calls.isBody && status < 400;
    if (!this.operation.native) return !this.pass.isGivenUp;
    // A callback may have lost the async context, so an error response may be the handler's own or a foreign one.
    return status < 400 || this.pass.thrown !== undefined || state !== 'succeeded';
  }

  /** Whether the handler writes the response: by a native `@Res()`, or by one with `passthrough`, to redirect for example. */
  private get isNative(): boolean {
    return this.operation.native || this.writer === 'handler';
  }

  /**
   * Whether a response that cannot be held to its end is written by work in the transaction: by the handler, or by its stream. An
   * early COMMIT would cut that work in two, and its end must not reach the client before COMMIT.
   */
  private worksInTransaction({ body }: CapturedResponse): boolean {
    if (body || !this.operation.options.policy.transactional) return false;
    return this.pass.source !== undefined || this.isBusy || this.isNative;
  }

  /** Whether the handler, or an interceptor that does its work, may still change the result. */
  private get isBusy(): boolean {
    return this.pass.phase !== 'ended' || this.current.calls.state === 'running';
  }

  private async endWith(captured: CapturedResponse): Promise<void> {
    const { calls } = this.current;
    const { transactional } = this.operation.options.policy;
    if (this.isTruncated && captured.status < 400) return this.endTruncated();
    const result = this.resultOf(captured);
    // While a call runs, a release would let a retry run beside it, and a COMMIT would cut its writes in two.
    if (!calls.isRunning || (result.kind === 'store' && !transactional)) return this.end(result);
    // A handler that waits for its own response to be sent is done. To wait for that handler would be a deadlock.
    await (this.isNative ? Promise.race([calls.idle(), this.capture.awaited()]) : calls.idle());
    this.failedAfterResponse = transactional && calls.state === 'failed' && captured.status < 400;
    this.end(this.failedAfterResponse ? { kind: 'release' } : this.resultOf(captured));
  }

  /**
   * Whether the handler's stream broke off in a transaction: it failed, or its client has disconnected. Only a part of its work is done,
   * and it can be rolled back. Outside of a transaction, the handler has succeeded, and a retry must not run it again. A generator is
   * the handler itself, and has failed.
   */
  private get isTruncated(): boolean {
    const { calls } = this.current;
    if (calls.isBody) return calls.state === 'failed';
    return this.operation.options.policy.transactional && this.pass.isTruncated;
  }

  /** Nest 11 ends the response of a stream that fails as if it were whole. It must not be sent. */
  private endTruncated(): void {
    const { pass } = this;
    const cause = this.current.calls.error ?? pass.source?.errored;
    const error = cause instanceof Error ? cause : new Error('The stream was destroyed before its end', { cause });
    pass.thrown ??= { error, isClientAbort: false };
    this.failedAfterResponse = true;
    this.end({ kind: 'release' });
  }

  /** Sends the operation's own response as it is written, and records the result when it has ended. */
  private async sendUnstorable(captured: CapturedResponse): Promise<void> {
    const { rawResponse } = this.exchange;
    const sent = new Promise((resolve) => rawResponse.once('finish', resolve).once('close', resolve));
    await this.passThrough();
    await this.settled();
    await sent;
    this.end(this.resultOf(captured));
  }

  /** Sends the response as it is written, except its end, which waits for the commit. */
  private async sendStreamed(captured: CapturedResponse): Promise<void> {
    // See passThrough(). The writer may end a response that is too large in the same turn.
    if (!captured.isStreamed) await Promise.resolve();
    if (this.capture.hasEnded || (await this.capture.stream()) === 'ended') return this.endWith(captured);
    const isSettled = await this.settled();
    // With `response: { stream: true }` the operation outlives its client. A silent one may still run: its outcome is unknown.
    this.end(this.resultWithoutResponse(isSettled && !this.operation.options.response.stream));
  }

  /** Sends a foreign response, and follows the operation to its end. */
  private async sendForeign(foreignStatus: number): Promise<void> {
    await this.passThrough();
    // The handler's own response is too late. It is discarded without an error, which would fail a handler that succeeded.
    let hasEnded = false;
    const noteEnd = () => {
      hasEnded = current()?.execution === this.current.execution;
      if (hasEnded) this.onChange?.();
    };
    if (this.capture.hasEnded) discardWrites(this.exchange.rawResponse, noteEnd);
    const isSettled = await this.settled();
    const { native, options } = this.operation;
    const mayCallBack = native && !this.current.calls.isAsync;
    if (mayCallBack && !hasEnded) await this.waitForChange(options.policy.leaseMs);
    // The status that the handler set, if it did so after the foreign response was written.
    const { status } = this.exchange;
    const own = native && status !== foreignStatus ? status : undefined;
    this.end(this.resultWithoutResponse(isSettled && (!mayCallBack || own !== undefined), own ?? this.webStatus));
  }

  private async passThrough(): Promise<void> {
    // A writer attaches its 'drain' listener after `write()` has returned false. An earlier 'drain' would leave it waiting forever.
    await Promise.resolve();
    this.capture.release();
  }

  private onClose(): void {
    if (this.isOpen) void this.endUnanswered();
  }

  /** Ends a run whose client has disconnected: there may never be a response. */
  private async endUnanswered(): Promise<void> {
    const isSettled = await this.settled();
    if (this.isOpen && this.pass.unsent) await this.writeUnsent(this.pass.unsent);
    const patienceMs = this.isResponseUnlikely ? GRACE_AFTER_CLOSE_MS : this.operation.options.policy.leaseMs;
    let heldBytes: number;
    let hasChanged = false;
    do {
      heldBytes = this.capture.size;
      // The change may be the end of an outer interceptor's retry, whose response comes later.
      if (this.isOpen) hasChanged = await this.waitForChange(patienceMs);
    } while (this.isOpen && (hasChanged || this.capture.size > heldBytes));
    if (!this.isOpen) return;
    // An outer interceptor has retried.
    if (isSettled && this.isBusy) return this.endUnanswered();
    const isKnown = !this.operation.native || this.capture.hasResponse || this.current.calls.isAsync;
    const status = this.operation.native && this.capture.hasResponse ? this.exchange.rawResponse.statusCode : undefined;
    this.end(this.resultWithoutResponse(isSettled && isKnown, status ?? this.webStatus));
  }

  /** Writes the Response that a handler has returned, so that it is recorded. */
  private async writeUnsent(response: Response): Promise<void> {
    const { rawResponse, reply } = this.exchange;
    const headers = Object.entries(reply?.getHeaders() ?? {});
    await runWithin(this.outerContext, () => {
      for (const [name, value] of headers) if (value !== undefined) rawResponse.setHeader(name, value);
      // What breaks off is recorded as that of any other response.
      return writeWebResponse(response, rawResponse).catch(() => undefined);
    });
  }

  /** The status of the web Response that the handler has returned. */
  private get webStatus(): number | undefined {
    const { value } = this.current.calls;
    return isWebResponse(value) ? value.status : undefined;
  }

  /** Whether no response is to be expected: platforms stop a stream when its client disconnects. */
  private get isResponseUnlikely(): boolean {
    const { isGivenUp, isStream } = this.pass;
    return isGivenUp || isStream || this.capture.hasResponse || this.current.calls.state === 'not begun';
  }

  /**
   * Waits until neither a pass nor a call of the handler runs.
   *
   * @returns `false` when the handler has returned, but a pass that it left open showed no activity for the duration of a lease
   */
  private async settled(): Promise<boolean> {
    const { calls } = this.current;
    for (;;) {
      await calls.idle();
      if (this.openPasses === 0 && !calls.isRunning) break;
      if (!(await this.waitForChange(this.operation.options.policy.leaseMs)) && !calls.isRunning) return false;
    }
    return true;
  }

  /** Waits up to `ms` milliseconds. Resolves with whether a pass ended or a response was written in that time. */
  private async waitForChange(ms: number): Promise<boolean> {
    const timer = new AbortController();
    const change = new Promise<boolean>((resolve) => (this.onChange = () => resolve(true)));
    const timeUp = sleep(ms, false, { ref: false, signal: timer.signal }).catch(() => false);
    try {
      return await Promise.race([change, timeUp]);
    } finally {
      timer.abort();
      this.onChange = undefined;
    }
  }

  /** Records a result. Later calls have no effect. */
  private end(result: HandlerResult): void {
    if (this.phase === 'recording' || this.phase === 'over') return;
    this.phase = 'recording';
    const { calls } = this.current;
    // An inner interceptor may answer first and call the handler afterwards.
    const isExpected = result.kind === 'store' && this.openPasses > 0 && calls.state === 'not begun';
    if (!isExpected) calls.close();
    this.leased.end(result);
  }

  /**
   * @param isKnown whether the run has seen the operation end
   * @param status of the response that a native handler wrote, although it was not sent
   */
  private resultWithoutResponse(isKnown: boolean, status?: number): HandlerResult {
    const { state } = this.current.calls;
    if (state === 'not begun') return { kind: 'discard' };
    if (!isKnown) return { kind: 'unknown' };
    if (this.pass.thrown?.isClientAbort) return STORE_WITHOUT_RESPONSE;
    return state === 'succeeded' && !this.handlerFailed(status) ? STORE_WITHOUT_RESPONSE : { kind: 'release' };
  }

  /** Returns a tombstone if the response cannot be packed, because an error would leave the record in `processing` until its lease ends. */
  private resultOf({ status, body }: CapturedResponse): HandlerResult {
    const { calls } = this.current;
    const { thrown } = this.pass;
    if (thrown?.isClientAbort) return STORE_WITHOUT_RESPONSE;
    const { response } = this.operation.options;
    const handlerFailed = this.handlerFailed(status);
    const failed = thrown !== undefined || handlerFailed || status >= 400;
    try {
      const error = thrown ? thrown.error : errorOfHandler(calls.error, this.operation.documentation);
      const unstored = unstoredResult(this.operation, { status, error, handlerFailed }, this.current);
      // The platform reports an error when a client leaves a stream. That error says nothing about the operation.
      const isLeftByClient = unstored?.kind === 'release' && this.exchange.rawResponse.closed && !thrown;
      if (isLeftByClient) return this.resultWithoutResponse(true, this.webStatus);
      if (unstored?.kind === 'store') this.logFailureAfterHandler(status);
      if (unstored) return unstored;
      if (!body) return storedResult(TOMBSTONE, failed, handlerFailed);
      const head = packHead(headSince(this.exchange.rawResponse, this.headersOfOthers, response));
      const outcome = outcomeToKeep({ code: status, head, body }, response);
      return storedResult(outcome, failed, handlerFailed);
    } catch (error) {
      HttpRun.logger.error(`${this.operation.endpoint}: the response cannot be kept`, (error as Error).stack);
      return storedResult(TOMBSTONE, failed, handlerFailed);
    }
  }

  private logFailureAfterHandler(status: number): void {
    HttpRun.logger.error(
      `${this.operation.endpoint}: answered ${status} after its handler had succeeded, and is on record ` +
        `(${this.leased.operation.recordId}) as carried out. If a transaction of an interceptor failed, nothing was written`,
    );
  }

  /** The headers before the pipeline, except those of the handler's own `@Header()`: a replay must have the values of the first. */
  private get headersOfOthers(): OutgoingHttpHeaders {
    const { computedHeaders } = this.operation;
    if (computedHeaders.length === 0) return this.headersBefore;
    const others = { ...this.headersBefore };
    for (const name of computedHeaders) delete others[name];
    return others;
  }

  /**
   * Returns whether the handler failed, and not something that ran after it.
   *
   * @param status of the response, if there is one
   */
  private handlerFailed(status: number | undefined): boolean {
    const { calls } = this.current;
    if (calls.state === 'failed' || this.isTruncated) return true;
    // An interceptor failed to commit what the handler wrote, and the application says so.
    if (calls.isUndone && (status === undefined || status >= 400)) return true;
    if (this.pass.thrown) return isWorkToBeDone(calls.value);
    if (status === undefined || status < 400) return false;
    if (this.writer === 'interceptor') return isWorkToBeDone(calls.value);
    // Any other status than the handler's comes from a failure after it. ts-rest keeps the handler's status in its value.
    const inValue = (calls.value as { status?: unknown } | null | undefined)?.status;
    return this.isNative || status === this.pass.status || status === inValue;
  }

  /** Whether the handler never began, such as when a pipe rejected the request. The key stays free for a corrected one. */
  private neverBegan(): boolean {
    if (this.current.calls.state === 'not begun') return true;
    const request = this.exchange.request as { [REJECTED_BY_PIPES]?: boolean };
    return !this.operation.watched && request[REJECTED_BY_PIPES] === true;
  }

  onRecorded(recorded: RecordingResult): void {
    try {
      this.answer(recorded);
      this.phase = 'over';
    } catch (error) {
      this.onFailure(error);
    }
  }

  onFailure(error: unknown): void {
    this.phase = 'over';
    this.capture.release();
    this.pass.subscriber.error(problemOfError(error, this.operation.documentation));
  }

  private answer(recorded: RecordingResult): void {
    const error = this.pass.thrown?.error;
    const replacement =
      answerInstead(recorded, error, this.operation) ?? (this.failedAfterResponse ? (error as Error) : undefined);
    const hasFailed = recorded.kind === 'freed' && (this.pass.thrown || this.current.calls.state === 'failed');
    // A stream that ends properly means success to its client, so a failed one is cut off.
    if ((replacement || hasFailed) && this.capture.abort()) return;
    if (!replacement) return this.capture.release();
    if (replacement instanceof Error && !this.capture.hasResponse) {
      this.capture.release();
      return this.pass.subscriber.error(replacement);
    }
    if (replacement instanceof Error && !(replacement instanceof IdempotencyProblem)) {
      this.capture.discard();
      this.exchange.reopen(this.headersBefore);
      return this.host.filters.handle(replacement, this.context);
    }
    this.exchange.suppressFrameworkReply();
    this.capture.replace((response) => {
      this.exchange.resetHeaders(this.headersBefore);
      if (replacement instanceof IdempotencyProblem) writeProblem(response, replacement);
      else writeOutcome(response, replacement);
    });
  }
}

function follow(run: HttpRun, pass: PipelinePass): void {
  run.follow(pass);
}

function next(subscriber: Subscriber<unknown>, value: unknown): void {
  subscriber.next(value);
}

function fail(subscriber: Subscriber<unknown>, error: unknown): void {
  subscriber.error(error);
}

function complete(subscriber: Subscriber<unknown>): void {
  subscriber.complete();
}
