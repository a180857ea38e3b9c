import { type CallHandler, type ExecutionContext, Logger } from '@nestjs/common';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Subscriber } from 'rxjs';
import { current, CurrentExecution, runWithin } from '../../engine/current-execution.js';
import { TooLateError } from '../../engine/handler-calls.js';
import type { Runner, LeasedExecution } from '../../engine/leased-execution.js';
import type { HandlerResult, RecordingResult } from '../../engine/recorder.js';
import { isFinalStatus } from '../../options/outcome-presets.js';
import { errorOfHandler, problemOfError } from '../../problems/from-engine.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import type { EndpointWarnings } from '../shared/endpoint-warnings.js';
import { answerInstead, isStream } from '../shared/run-end.js';
import type { ApplicationFilters } from './application-filters.js';
import type { Exchange } from './exchange.js';
import { isClosed } from './http2.js';
import type { HttpOperation } from './http-operations.js';
import { type PassListener, PipelinePass } from './pipeline-pass.js';
import { type CapturedResponse, type CaptureListener, ResponseCapture } from './response-capture.js';
import { interceptorOf, discardWrites, onClose } from './response-interceptor.js';
import { readToEnd } from './read-to-end.js';
import { keepSource, sourceOf, type StreamEnd, streamError } from './response-stream.js';
import {
  isBusy,
  isClientAbort,
  isHandlerRunning,
  isNative,
  isResponseUnlikely,
  isTruncated,
  resultOf,
  resultOfUnansweredError,
  resultWithoutResponse,
  type RunState,
  sendingOf,
  webStatusOf,
  type Writer,
  writerOf,
} from './run-result.js';
import { isWebResponse, writeWebResponse } from './web-response.js';
import { writeOutcome, writeProblem } from './write-response.js';

const BEFORE_COMMIT =
  'the response is made before COMMIT: the handler has written in a transaction that is still open. The outcome is on record before its ' +
  'COMMIT, and if that fails, the effect is lost: a retry gets the outcome, and does not run. Have the interceptor wait for COMMIT, by ' +
  'concatMap() instead of tap(), or set `transactional`';

const logger = new Logger('Idempotency');

/** How long a run waits for an unlikely response after its client has disconnected. */
const GRACE_AFTER_CLOSE_MS = 1_000;

export interface HttpRunHost {
  readonly filters: ApplicationFilters;
  readonly undecidedStreams: EndpointWarnings;
  readonly openTransactions: EndpointWarnings;
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
 * Runs the inner pipeline for the request that owns the record. Holds the response until its outcome is committed, and then sends
 * it: a client that saw a response must get the same one from a retry.
 *
 * The run never unsubscribes from the handler. When a client or an outer interceptor gives up, the handler still runs. If its key
 * became free before it ended, a retry would run it a second time.
 */
export class HttpRun implements RunState, Runner, PassListener, CaptureListener {
  readonly current: CurrentExecution;
  readonly headersBefore: OutgoingHttpHeaders;
  pass!: PipelinePass;
  writer: Writer | undefined;
  /**
   * The async context of the outer interceptors, in which their callbacks run. An interceptor that retries subscribes from such a
   * callback. From the execution's context, its pass would look like a second `@Idempotent()` on the same request, and
   * what it wrote would be rolled back.
   */
  private readonly outerContext = current();
  private readonly capture: ResponseCapture;
  private phase: Phase = 'running';
  private next!: CallHandler;
  openPasses = 0;
  /** Whether the handler failed after its response, which rolls its transaction back. The response must not be sent then. */
  private failedAfterResponse = false;
  /** Called at each change. Two may wait at a time: one for a client that has gone, and one for what else has answered. */
  private waiters: Set<() => void> | undefined;
  /** What the handler has piped into the response. */
  private piped: Partial<Readable> | undefined;

  constructor(
    private readonly host: HttpRunHost,
    readonly leased: LeasedExecution,
    private readonly context: ExecutionContext,
    readonly exchange: Exchange,
    readonly operation: HttpOperation,
  ) {
    const { response, policy } = operation.options;
    this.current = CurrentExecution.of(leased.execution, operation.handler);
    interceptorOf(exchange.rawResponse).run = this;
    this.headersBefore = exchange.headers();
    this.capture = new ResponseCapture(exchange.rawResponse, response, policy.leaseMs, this);
    if (operation.native) {
      exchange.rawResponse.on('pipe', (source) => this.onPipe(source));
      exchange.watchNativeReply();
    }
  }

  start(next: CallHandler, subscriber: Subscriber<unknown>): void {
    this.next = next;
    this.pass = new PipelinePass(this.current, subscriber, this);
    this.leased.run(this);
  }

  begin(): void {
    const { subscriber } = this.pass;
    const { rawResponse } = this.exchange;
    // Something outside, such as a time-out, has refused the request while it waited. A success that middleware has sent in advance, as to
    // acknowledge a webhook, is no refusal.
    if (rawResponse.writableEnded && rawResponse.statusCode >= 400) {
      discardWrites(rawResponse);
      subscriber.error(new TooLateError());
    }
    if (subscriber.closed) return this.end({ kind: 'discard' });
    subscriber.add(this.pass);
    if (isClosed(rawResponse)) this.onClose();
    else onClose(rawResponse, () => this.onClose());
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
    const { response, policy } = this.operation.options;
    const streams = response.stream;
    pass.advance('emitted', status, isHandlerRunning(this));
    pass.isStream = !streams && (isStream(value) || isWebResponse(value));
    pass.source = sourceOf(value);
    if (streams && pass.source) keepSource(pass.source, rawResponse);
    // Nest cancels the body of a Response whose client has gone, and writes nothing.
    if (isClosed(rawResponse) && isWebResponse(value) && !value.bodyUsed) pass.unsent = value.clone();
    else if (streams) readToEnd(value, rawResponse, this.current.calls, policy.transactional);
    runWithin(this.outerContext, next, pass.subscriber, value);
  }

  onError(pass: PipelinePass, thrown: unknown): void {
    const error = errorOfHandler(thrown, this.operation.documentation);
    if (pass.call) this.current.calls.settle(pass.call, 'failed', error);
    pass.thrown = { error, isClientAbort: isClientAbort(this, error, this.capture.hasResponse) };
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
    pass.advance('ended', this.exchange.status, isHandlerRunning(this));
    this.onChange();
  }

  private onPipe(source: Partial<Readable>): void {
    if (current()?.execution === this.current.execution) this.piped = source;
  }

  /**
   * Whether the response comes from what the handler has piped into it. A source that is filled from elsewhere, as by a connection that
   * requests share, writes in another async context. One of which nothing was read has not written: a time-out has.
   */
  private get isPiped(): boolean {
    return this.piped?.readableDidRead === true || this.piped?.readableEnded === true;
  }

  onUndecided(): void {
    this.host.undecidedStreams.warn(
      this.operation.template,
      'the response is a stream, by its type or by flushHeaders(): after a second at most it passes, and is not replayed. Set ' +
        '`response: { stream: true }` to send it as it is written, or `false` to hold it until its end',
    );
  }

  /** Decides how a response is sent: beside the operation, as it is written, or when its outcome is recorded. */
  onResponse(captured: CapturedResponse): void {
    if (this.phase !== 'running') return;
    this.writer = writerOf(this, this.isPiped ? this.current : current());
    this.onChange();
    switch (sendingOf(this, captured)) {
      case 'unclaimed':
        return this.end({ kind: 'discard', refused: isFinalStatus(captured.status) });
      case 'foreign':
        return void this.sendForeign(captured.status);
      case 'streamed':
        return void this.sendStreamed(captured);
      case 'unstorable':
        return void this.sendUnstorable(captured);
      case 'recorded':
        return void this.endWith(captured);
    }
  }

  private async endWith(captured: CapturedResponse): Promise<void> {
    const { calls } = this.current;
    const { transactional } = this.operation.options.policy;
    // A generator whose client has gone runs to its end, after that of its response.
    if (calls.isBody) await calls.idle();
    if (isTruncated(this) && captured.status < 400) return this.endTruncated();
    const result = resultOf(this, captured);
    // While a call runs, a release would let a retry run beside it, and a COMMIT would cut its writes in two.
    if (!calls.isRunning || (result.kind === 'store' && !transactional)) return this.end(result);
    // A handler that waits for its own response to be sent is done. To wait for that handler would be a deadlock.
    await (isNative(this) ? Promise.race([calls.idle(), this.capture.awaited()]) : calls.idle());
    this.failedAfterResponse = transactional && calls.state === 'failed' && captured.status < 400;
    this.end(this.failedAfterResponse ? { kind: 'release' } : resultOf(this, captured));
  }

  /** Nest 11 ends the response of a stream that fails as if it were whole. It must not be sent. */
  private endTruncated(): void {
    const { pass } = this;
    pass.thrown ??= { error: streamError(this.current.calls.error ?? pass.source?.errored), isClientAbort: false };
    this.failedAfterResponse = true;
    this.end({ kind: 'release' });
  }

  /** Sends the operation's own response as it is written, and records the result when it has ended. */
  private async sendUnstorable(captured: CapturedResponse): Promise<void> {
    const { rawResponse } = this.exchange;
    const sent = new Promise<void>((resolve) => {
      rawResponse.once('finish', resolve);
      onClose(rawResponse, resolve);
    });
    await this.passThrough();
    await this.settled();
    await sent;
    this.end(resultOf(this, captured));
  }

  /** Sends the response as it is written, except its end, which waits for the commit. */
  private async sendStreamed(captured: CapturedResponse): Promise<void> {
    // See passThrough(). The writer may end a response that is too large in the same turn.
    if (!captured.isStreamed) await Promise.resolve();
    if (this.capture.hasEnded || (await this.streamEnd()) === 'ended') return this.endWith(captured);
    const isSettled = await this.settled();
    // With `response: { stream: true }` the operation outlives its client. A silent one may still run, unless it is a generator: its
    // outcome is unknown.
    const isKnown = this.current.calls.isBody || !this.operation.options.response.stream;
    this.end(resultWithoutResponse(this, isSettled && isKnown));
  }

  /** A body that is read to its end without its client is not written any more on Express, and ends silently at once. */
  private streamEnd(): Promise<StreamEnd> {
    const { calls } = this.current;
    const end = this.capture.stream();
    const read = calls.isBody && calls.idle();
    if (!read) return end;
    return Promise.race([end, read.then(() => (isClosed(this.exchange.rawResponse) ? 'silent' : end))]);
  }

  /** Sends a foreign response, and follows the operation to its end. */
  private async sendForeign(foreignStatus: number): Promise<void> {
    await this.passThrough();
    // The handler's own response is too late. It is discarded without an error, which would fail a handler that succeeded.
    let hasEnded = false;
    const noteEnd = () => {
      hasEnded = current()?.execution === this.current.execution;
      if (hasEnded) this.onChange();
    };
    if (this.capture.hasEnded) discardWrites(this.exchange.rawResponse, noteEnd);
    const isSettled = await this.settled();
    const { native, options } = this.operation;
    const mayCallBack = native && !this.current.calls.isAsync;
    if (mayCallBack && !hasEnded) await this.waitForChange(options.policy.leaseMs);
    // The status that the handler set, if it did so after the foreign response was written.
    const { status } = this.exchange;
    const own = native && status !== foreignStatus ? status : undefined;
    this.end(resultWithoutResponse(this, isSettled && (!mayCallBack || own !== undefined), own ?? webStatusOf(this)));
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
    if (await this.waitForResponse()) return;
    // An outer interceptor has retried.
    if (isSettled && isBusy(this)) return this.endUnanswered();
    const { calls } = this.current;
    if (calls.isBody && calls.state === 'failed' && !this.capture.hasResponse) {
      return this.end(resultOfUnansweredError(this));
    }
    const isKnown = !this.operation.native || this.capture.hasResponse || calls.isAsync;
    const status = this.operation.native && this.capture.hasResponse ? this.exchange.rawResponse.statusCode : undefined;
    this.end(resultWithoutResponse(this, isSettled && isKnown, status ?? webStatusOf(this)));
  }

  /** Waits for a response of the operation while something happens. Resolves with whether there is one. */
  private async waitForResponse(): Promise<boolean> {
    const isUnlikely = isResponseUnlikely(this, this.capture.hasResponse);
    const patienceMs = isUnlikely ? GRACE_AFTER_CLOSE_MS : this.operation.options.policy.leaseMs;
    while (this.isOpen) {
      const heldBytes = this.capture.size;
      // The change may be the end of an outer interceptor's retry, whose response comes later.
      const hasChanged = await this.waitForChange(patienceMs);
      if (this.isOpen && !hasChanged && this.capture.size === heldBytes) return false;
    }
    return true;
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

  /**
   * Waits until neither a pass nor a call of the handler runs.
   *
   * @returns `false` when the handler has returned, but a pass that it left open showed no activity for the duration of a lease
   */
  private async settled(): Promise<boolean> {
    const { calls } = this.current;
    for (;;) {
      await calls.idle();
      // A call has begun in the meantime, such as that of a generator after its pass.
      if (calls.isRunning) continue;
      if (this.openPasses === 0) return true;
      if (!(await this.waitForChange(this.operation.options.policy.leaseMs)) && !calls.isRunning) return false;
    }
  }

  /** Waits up to `ms` milliseconds. Resolves with whether a pass ended or a response was written in that time. */
  private async waitForChange(ms: number): Promise<boolean> {
    const timer = new AbortController();
    const waiters = (this.waiters ??= new Set());
    let waiter!: () => void;
    const change = new Promise<boolean>((resolve) => waiters.add((waiter = () => resolve(true))));
    const timeUp = sleep(ms, false, { ref: false, signal: timer.signal }).catch(() => false);
    try {
      return await Promise.race([change, timeUp]);
    } finally {
      timer.abort();
      waiters.delete(waiter);
    }
  }

  private onChange(): void {
    this.waiters?.forEach((waiter) => waiter());
  }

  /** Records a result. Later calls have no effect. */
  private end(result: HandlerResult): void {
    if (this.phase === 'recording' || this.phase === 'over') return;
    this.phase = 'recording';
    const { calls } = this.current;
    if (result.kind === 'store' && calls.openTransactions > 0)
      this.host.openTransactions.warn(this.operation.endpoint, BEFORE_COMMIT);
    // An inner interceptor may answer first and call the handler afterwards.
    const isExpected = result.kind === 'store' && this.openPasses > 0 && calls.state === 'not begun';
    if (!isExpected) calls.close();
    this.leased.end(result);
  }

  onRecorded(recorded: RecordingResult): void {
    try {
      this.answer(recorded);
      this.phase = 'over';
    } catch (error) {
      if (!this.capture.hasResponse) return this.onFailure(error);
      this.phase = 'over';
      this.closeUnsent(error);
    }
  }

  /** The pipeline has ended, and takes no error. Without another response, the client would wait in vain. */
  onUnsent(error: unknown): void {
    if (!this.capture.hasEnded || this.exchange.rawResponse.headersSent) return this.closeUnsent(error);
    try {
      this.exchange.reopen(this.headersBefore);
      this.host.filters.handle(error, this.context);
    } catch {
      // What has thrown throws again.
      this.closeUnsent(error);
    }
  }

  private closeUnsent(error: unknown): void {
    const stack = (error as Error | undefined)?.stack;
    logger.error(`${this.operation.endpoint}: the response cannot be sent, and its connection is closed`, stack);
    this.exchange.rawResponse.destroy();
  }

  onFailure(error: unknown): void {
    this.phase = 'over';
    this.capture.release();
    this.pass.subscriber.error(problemOfError(error, this.operation.documentation));
  }

  private answer(recorded: RecordingResult): void {
    const error = this.pass.thrown?.error;
    const { recordId } = this.leased.operation;
    const replacement =
      answerInstead(recorded, error, this.operation, recordId) ??
      (this.failedAfterResponse ? (error as Error) : undefined);
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
