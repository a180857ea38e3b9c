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
import { answerInstead, CARRIED_OUT, isStream, isWorkToBeDone, verdictOf } from '../shared/run-end.js';
import type { ApplicationFilters } from './application-filters.js';
import type { Exchange } from './exchange.js';
import type { HttpOperation } from './http-operations.js';
import { type PassListener, PipelinePass } from './pipeline-pass.js';
import { type CapturedResponse, type CaptureListener, ResponseCapture } from './response-capture.js';
import { interceptorOf, discardWrites } from './response-interceptor.js';
import { headSince, packHead } from '../content/response-head.js';
import { keepSource } from './response-stream.js';
import type { StreamHints } from './stream-hints.js';
import { writeOutcome, writeProblem } from './write-response.js';

/** How long a run waits for a response after the client has gone, in milliseconds, where none is likely. */
const GRACE_AFTER_CLOSE_MS = 1_000;

/** What an HTTP run uses of its edge. */
export interface HttpRunHost {
  readonly filters: ApplicationFilters;
  readonly streams: StreamHints;
}

/**
 * Runs the rest of the pipeline for the request that owns the record. Holds the response back until the outcome is committed, and
 * then sends it: a client that saw a response must get the same one from a retry.
 *
 * - `'holding'`: the pipeline runs, and writes to the response are held.
 *   The operation's own response leads to `'recording'`, and so does a client that hangs up, once the operation has settled.
 *   A response that a timeout middleware or another bystander writes leads to `'passing'`, and so does one that is too long to hold.
 * - `'passing'`: the response is sent as it is written. When the operation has settled, `'recording'` follows.
 * - `'recording'`: the result of the handler is final, and the store records it. No call of the handler begins any more.
 * - `'over'`: the result is recorded, and the response is sent.
 *
 * The run never unsubscribes from the handler. A client or an outer interceptor may give up, but the handler goes on, and its key must
 * not be free before it ends.
 */
type Phase = 'holding' | 'passing' | 'recording' | 'over';

export class HttpRun implements Runner, PassListener, CaptureListener {
  private static readonly logger = new Logger('Idempotency');

  private readonly current: CurrentExecution;
  /**
   * The context of the outer interceptors. An interceptor that retries subscribes from within its callbacks. In the execution's own
   * context, that pass would look like a second `@Idempotent()` on the same request, and its transaction would be rolled back.
   */
  private readonly outside = current();
  private readonly capture: ResponseCapture;
  private readonly headersBefore: OutgoingHttpHeaders;
  private phase: Phase = 'holding';
  private next!: CallHandler;
  /** The pass through the pipeline that began last. It decides the result. */
  private pass!: PipelinePass;
  /** The number of passes that have not ended. */
  private passes = 0;
  private responded = false;
  /** Whether an inner interceptor has written the response itself. */
  private writtenInside = false;
  /** Whether the handler writes the response: by a native `@Res()`, or by one with `passthrough`, to redirect for example. */
  private isNative: boolean;
  /** Whether the handler failed after it had written its response, so that its transaction is rolled back. */
  private undone = false;
  private onChange: (() => void) | undefined;

  constructor(
    private readonly host: HttpRunHost,
    private readonly leased: LeasedExecution,
    private readonly context: ExecutionContext,
    private readonly exchange: Exchange,
    private readonly operation: HttpOperation,
  ) {
    const { response, policy } = operation.options;
    this.isNative = operation.native;
    this.current = CurrentExecution.of(leased.execution, operation.handler);
    interceptorOf(exchange.rawResponse).run = this;
    this.headersBefore = exchange.headers();
    this.capture = new ResponseCapture(exchange.rawResponse, response, policy.leaseMs, this);
  }

  /** Runs the inner pipeline for the outer interceptors. */
  start(next: CallHandler, subscriber: Subscriber<unknown>): void {
    this.next = next;
    this.pass = new PipelinePass(this.current, subscriber, this);
    this.leased.run(this);
  }

  /** See {@link Runner}. */
  begin(): void {
    const { subscriber } = this.pass;
    // An outer interceptor has given up, and answered.
    if (subscriber.closed) return this.end({ kind: 'discard' });
    subscriber.add(this.pass);
    const { rawResponse } = this.exchange;
    if (rawResponse.closed) this.onClose();
    else rawResponse.on('close', () => this.onClose());
    runWithin(this.current, follow, this, this.pass);
  }

  /** Whether there is no response yet, and another pass may still decide the outcome. */
  get isOpen(): boolean {
    return this.phase === 'holding' && !this.responded;
  }

  /** Whether the caller runs within the last pass, as a second `@Idempotent()` on the same request does. */
  get isWithin(): boolean {
    return this.pass.phase !== 'ended' && current()?.pass === this.pass.current;
  }

  /** Whether the run ended without a response. A retry of the request is then admitted like a new request. */
  get isOverUnanswered(): boolean {
    return this.phase === 'over' && !this.responded;
  }

  /** Runs the pipeline again for an outer interceptor that retries. This pass belongs to the same execution. */
  runAgain(next: CallHandler, subscriber: Subscriber<unknown>): void {
    if (!this.isOpen) return subscriber.error(new TooLateError());
    this.next = next;
    const pass = (this.pass = new PipelinePass(this.current.again(), subscriber, this));
    subscriber.add(pass);
    const { watched, options } = this.operation;
    if (watched || !options.policy.transactional) return runWithin(pass.current, follow, this, pass);
    // Where the handler's calls are not watched, each pass begins a new transaction.
    void this.settled()
      .then(() => this.leased.restartTransaction())
      .then((run) => run(() => runWithin(pass.current, follow, this, pass)))
      .catch((error: unknown) => subscriber.error(error));
  }

  /** Subscribes a pass to the inner pipeline. */
  follow(pass: PipelinePass): void {
    this.passes++;
    // A handler that is not watched counts as running until its pass ends.
    if (!this.operation.watched) pass.call = this.current.calls.begin();
    this.next.handle().subscribe(pass);
  }

  onValue(pass: PipelinePass, value: unknown): void {
    const { rawResponse, status } = this.exchange;
    const streams = this.operation.options.response.stream;
    if (streams) keepSource(value, rawResponse);
    pass.advance('emitted', status, this.isHandlerRunning);
    pass.isStream = !streams && isStream(value);
    runWithin(this.outside, next, pass.subscriber, value);
  }

  onError(pass: PipelinePass, thrown: unknown): void {
    const error = errorOfHandler(thrown, this.operation.documentation);
    if (pass.call) this.current.calls.settle(pass.call, 'failed', error);
    pass.thrown = { error };
    pass.isBrokenOff = this.isOfGoneClient(error);
    this.onPassed(pass);
    runWithin(this.outside, fail, pass.subscriber, error);
  }

  onComplete(pass: PipelinePass): void {
    if (pass.call) this.current.calls.settle(pass.call, 'succeeded');
    this.onPassed(pass);
    runWithin(this.outside, complete, pass.subscriber);
  }

  private onPassed(pass: PipelinePass): void {
    this.passes--;
    pass.advance('ended', this.exchange.status, this.isHandlerRunning);
    this.onChange?.();
  }

  /** Whether the handler is known to run. A call that is not watched ends with its pass. */
  private get isHandlerRunning(): boolean {
    return this.operation.watched && this.current.calls.state === 'running';
  }

  /** Any failure rolls a transaction back, so there the failure counts. */
  private isOfGoneClient(error: unknown): boolean {
    const { native, options } = this.operation;
    if (!native || options.policy.transactional) return false;
    const isGone = this.exchange.rawResponse.closed && this.capture.hasResponse;
    return isGone && (error as { code?: unknown } | null | undefined)?.code === 'ERR_STREAM_PREMATURE_CLOSE';
  }

  /** See {@link CaptureListener}. */
  onUndecided(): void {
    this.host.streams.note(this.operation.template);
  }

  /** The response is complete, or turns out too long to hold. Nothing of it has been sent. */
  onResponse(captured: CapturedResponse): void {
    if (this.phase !== 'holding') return;
    this.responded = true;
    this.onChange?.();
    if (this.neverBegan() && (captured.status >= 400 || this.pass.thrown)) return this.end({ kind: 'discard' });
    if (!this.isOfOperation(captured)) return void this.sendForeign(captured.status);
    if (captured.isStreamed) return void this.sendStreamed(captured);
    if (!captured.body && (this.isBusy || this.isNative)) return void this.sendUnkept(captured);
    void this.endBy(captured);
  }

  /**
   * Returns whether a response is the operation's own. A response that is written while the handler runs is a bystander's, such as a
   * timeout middleware's. Two writers are exceptions: a handler that has the response by `@Res()`, and an inner interceptor that does the
   * work after the handler has returned, as oRPC's does.
   */
  private isOfOperation({ status }: CapturedResponse): boolean {
    const writer = current();
    const isInside = writer?.execution === this.current.execution;
    if (isInside && writer.isCall && this.current.calls.state === 'running') this.isNative = true;
    if (isInside && this.isNative) return true;
    this.writtenInside = isInside && this.passes > 0;
    if (this.writtenInside) return this.current.calls.state === 'succeeded';
    if (!this.operation.native) return !this.isBusy && !this.pass.isGivenUp;
    // A callback may have lost the async context. A failure may then be the handler's own, or a bystander's.
    return !this.isBusy && (status < 400 || this.pass.thrown !== undefined || this.current.calls.state !== 'succeeded');
  }

  /** Whether the handler, or an interceptor that does its work, may still change the result. */
  private get isBusy(): boolean {
    return this.pass.phase !== 'ended' || this.current.calls.state === 'running';
  }

  private async endBy(captured: CapturedResponse): Promise<void> {
    const { calls } = this.current;
    const { transactional } = this.operation.options.policy;
    const result = this.safeResultOf(captured);
    // While a call runs, its key must not be free, and its transaction must not end.
    if (!calls.isRunning || (result.kind === 'store' && !transactional)) return this.end(result);
    // A handler that only waits for its own response to be sent is done. Waiting for it would be a deadlock.
    await (this.isNative ? Promise.race([calls.idle(), this.capture.awaited()]) : calls.idle());
    this.undone = transactional && calls.state === 'failed' && captured.status < 400;
    this.end(this.undone ? { kind: 'release' } : this.safeResultOf(captured));
  }

  /** Sends the operation's own response as it is written, until it ends. */
  private async sendUnkept(captured: CapturedResponse): Promise<void> {
    const { rawResponse } = this.exchange;
    const sent = new Promise((resolve) => rawResponse.once('finish', resolve).once('close', resolve));
    await this.letGo();
    await this.settled();
    await sent;
    this.end(this.safeResultOf(captured));
  }

  /** Sends the response as it is written, except its end, which waits until the outcome is committed. */
  private async sendStreamed(captured: CapturedResponse): Promise<void> {
    this.phase = 'passing';
    if ((await this.capture.stream()) === 'ended') return this.endBy(captured);
    const isSettled = await this.settled();
    // With `response: { stream: true }` the operation outlives its client, and should have shown a sign of life.
    this.end(this.resultWithoutResponse(isSettled && !this.operation.options.response.stream));
  }

  /** Sends the response of a bystander, and follows the operation to its end. */
  private async sendForeign(foreignStatus: number): Promise<void> {
    await this.letGo();
    // The handler's own response comes too late, and is discarded without an error.
    let hasEnded = false;
    const noteEnd = () => {
      hasEnded = current()?.execution === this.current.execution;
      if (hasEnded) this.onChange?.();
    };
    if (this.capture.hasEnded) discardWrites(this.exchange.rawResponse, noteEnd);
    const isSettled = await this.settled();
    const { native, options } = this.operation;
    const isCallback = native && !this.current.calls.isAsync;
    if (isCallback && !hasEnded) await this.changed(options.policy.leaseMs);
    // The status that the handler set, unless it did so before the bystander.
    const { status } = this.exchange;
    const own = native && status !== foreignStatus ? status : undefined;
    this.end(this.resultWithoutResponse(isSettled && (!isCallback || own !== undefined), own));
  }

  private async letGo(): Promise<void> {
    this.phase = 'passing';
    // A writer whose `write()` returned false listens for 'drain' only after it has returned.
    await Promise.resolve();
    this.capture.release();
  }

  private onClose(): void {
    if (this.isOpen) void this.endUnanswered();
  }

  /** The client has gone, and there may never be a response. */
  private async endUnanswered(): Promise<void> {
    const isSettled = await this.settled();
    const patience = this.isUnlikely ? GRACE_AFTER_CLOSE_MS : this.operation.options.policy.leaseMs;
    let held: number;
    do {
      held = this.capture.size;
      if (this.isOpen) await this.changed(patience);
    } while (this.isOpen && this.capture.size > held);
    if (!this.isOpen) return;
    // An outer interceptor has retried.
    if (isSettled && this.isBusy) return this.endUnanswered();
    const isKnown = !this.operation.native || this.capture.hasResponse || this.current.calls.isAsync;
    const status = this.operation.native && this.capture.hasResponse ? this.exchange.rawResponse.statusCode : undefined;
    this.end(this.resultWithoutResponse(isSettled && isKnown, status));
  }

  /** Whether a response is unlikely: streams break off when their client goes away. */
  private get isUnlikely(): boolean {
    const { isGivenUp, isStream } = this.pass;
    return isGivenUp || isStream || this.capture.hasResponse || this.current.calls.state === 'not begun';
  }

  /**
   * Resolves with true when no pass and no call of the handler runs any more. Resolves with false where the handler has returned, and
   * what it left running has shown no sign of life for the duration of a lease.
   */
  private async settled(): Promise<boolean> {
    const { calls } = this.current;
    for (;;) {
      await calls.idle();
      if (this.passes === 0 && !calls.isRunning) break;
      if (!(await this.changed(this.operation.options.policy.leaseMs)) && !calls.isRunning) return false;
    }
    return true;
  }

  /** Resolves with whether a pass ended or a response was written within `ms` milliseconds. */
  private async changed(ms: number): Promise<boolean> {
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

  /** Records the first result, and ignores later ones. */
  private end(result: HandlerResult): void {
    if (this.phase === 'recording' || this.phase === 'over') return;
    this.phase = 'recording';
    const { calls } = this.current;
    // An inner interceptor may answer before it calls the handler.
    const isExpected = result.kind === 'store' && this.passes > 0 && calls.state === 'not begun';
    if (!isExpected) calls.close();
    this.leased.end(result);
  }

  /** A response that cannot be packed must not leave its record in processing until the lease runs out. */
  private safeResultOf(captured: CapturedResponse): HandlerResult {
    try {
      return this.resultOf(captured);
    } catch (error) {
      HttpRun.logger.error(`${this.operation.endpoint}: the response cannot be kept`, (error as Error).stack);
      return { kind: 'store', outcome: TOMBSTONE, failed: captured.status >= 400 };
    }
  }

  /**
   * @param isKnown whether the operation was followed to its end
   * @param status of the response that a native handler wrote, though it was not sent
   */
  private resultWithoutResponse(isKnown: boolean, status?: number): HandlerResult {
    const { state } = this.current.calls;
    if (state === 'not begun') return { kind: 'discard' };
    if (!isKnown) return { kind: 'unknown' };
    if (this.pass.isBrokenOff) return CARRIED_OUT;
    return state === 'succeeded' && !this.handlerFailed(status) ? CARRIED_OUT : { kind: 'release' };
  }

  private resultOf({ status, body }: CapturedResponse): HandlerResult {
    if (this.pass.isBrokenOff) return CARRIED_OUT;
    const { calls } = this.current;
    const { thrown } = this.pass;
    const handlerFailed = this.handlerFailed(status);
    const error = thrown ? thrown.error : errorOfHandler(calls.error, this.operation.documentation);
    const verdict = verdictOf(this.operation, { status, error, handlerFailed }, this.current);
    if (verdict === 'storeWithoutResponse') return CARRIED_OUT;
    if (verdict === 'release') {
      // A stream breaks off when its client goes away. The platform's error for that says nothing of the operation.
      const brokenOff = this.exchange.rawResponse.closed && !thrown;
      return brokenOff ? this.resultWithoutResponse(true) : { kind: 'release' };
    }
    const failed = thrown !== undefined || handlerFailed || status >= 400;
    if (!body) return { kind: 'store', outcome: TOMBSTONE, failed };
    const { response } = this.operation.options;
    const head = packHead(headSince(this.exchange.rawResponse, this.headersBefore, response));
    return { kind: 'store', outcome: outcomeToKeep({ code: status, head, body }, response), failed };
  }

  /** @param status of the response, if there is one */
  private handlerFailed(status: number | undefined): boolean {
    const { calls } = this.current;
    if (calls.state === 'failed') return true;
    if (this.pass.thrown) return isWorkToBeDone(calls.value);
    if (status === undefined || status < 400) return false;
    if (this.writtenInside) return isWorkToBeDone(calls.value);
    // Another status than the handler's comes from a failure after it. ts-rest has the status in the handler's value.
    const inValue = (calls.value as { status?: unknown } | null | undefined)?.status;
    return this.isNative || status === this.pass.status || status === inValue;
  }

  private neverBegan(): boolean {
    if (this.current.calls.state === 'not begun') return true;
    const request = this.exchange.request as { [REJECTED_BY_PIPES]?: boolean };
    return !this.operation.watched && request[REJECTED_BY_PIPES] === true;
  }

  /** See {@link Runner}. */
  onRecorded(recorded: RecordingResult): void {
    try {
      this.answer(recorded);
      this.phase = 'over';
    } catch (error) {
      this.onFailure(error);
    }
  }

  /** See {@link Runner}. */
  onFailure(error: unknown): void {
    this.phase = 'over';
    this.capture.release();
    this.pass.subscriber.error(problemOfError(error, this.operation.documentation));
  }

  private answer(recorded: RecordingResult): void {
    const error = this.pass.thrown?.error;
    const instead = answerInstead(recorded, error, this.operation) ?? (this.undone ? (error as Error) : undefined);
    const hasFailed = recorded.kind === 'freed' && (this.pass.thrown || this.current.calls.state === 'failed');
    // A stream that ends properly means success to its client.
    if ((instead || hasFailed) && this.capture.breakOff()) return;
    if (!instead) return this.capture.release();
    if (instead instanceof Error && !this.capture.hasResponse) {
      this.capture.release();
      return this.pass.subscriber.error(instead);
    }
    if (instead instanceof Error && !(instead instanceof IdempotencyProblem)) {
      this.capture.discard();
      this.exchange.reopen(this.headersBefore);
      return this.host.filters.handle(instead, this.context);
    }
    this.exchange.suppressFrameworkReply();
    this.capture.replace((response) => {
      this.exchange.resetHeaders(this.headersBefore);
      if (instead instanceof IdempotencyProblem) writeProblem(response, instead);
      else writeOutcome(response, instead);
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
