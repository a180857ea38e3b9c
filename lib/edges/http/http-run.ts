import { Logger } from '@nestjs/common';
import type { OutgoingHttpHeaders } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Observable, type Subscriber } from 'rxjs';
import { issueTicket, returnTicket } from '../../decorators/ticket.js';
import { CurrentExecution, runWithin } from '../../engine/current-execution.js';
import { TOMBSTONE } from '../../engine/outcome.js';
import type { Ending, Finish, Tenure } from '../../engine/tenure.js';
import { errorOfHandler, problemOfError } from '../../problems/from-engine.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import { answerInstead, isToBeReleased, type RunSettings } from '../run-end.js';
import type { Exchange } from './exchange.js';
import { markRun, type RequestRun } from './request-run.js';
import { type CapturedResponse, ResponseCapture } from './response-capture.js';
import { headSince, packHead } from './response-head.js';
import { resetHeaders, writeOutcome, writeProblem } from './write-response.js';

/** Set by Nest 12 on a request that its pipes rejected. */
const REJECTED_BY_PIPES = Symbol.for('nestjs:rejected-by-pipes');

/** How long after the client has gone the pipeline may still come to a response, in milliseconds. */
const GRACE_AFTER_CLOSE = 1_000;

export interface HttpRunSettings extends RunSettings {
  /** Whether the handler runs within an async context, by which it can be found from anywhere in it. */
  readonly asyncContext: boolean;
  /** Has the application's exception filters write a response. */
  readonly filter: (error: unknown) => void;
}

/**
 * Runs the rest of the pipeline for a request that won its record, holds the response until its outcome is on record,
 * and then lets it go.
 *
 * The handler is never unsubscribed from: an operation that began is followed to its end, though its client or an outer
 * interceptor has long given up on it.
 */
export class HttpRun implements RequestRun {
  private static readonly logger = new Logger('Idempotency');

  readonly current: CurrentExecution;
  readonly ticket: number;
  private readonly capture: ResponseCapture;
  private readonly headersBefore: OutgoingHttpHeaders;
  private readonly ending: Promise<Ending>;
  private settleEnding!: (ending: Ending) => void;
  /** What the handler, a pipe or an inner interceptor threw. */
  private error: unknown;
  private threw = false;
  /** Whether the pipeline went on without the handler: an interceptor inside gave up on it, or one outside unsubscribed. */
  private deserted = false;
  /** Whether pipes, inner interceptors and the handler have come to an end, as far as the pipeline tells. */
  private followed = false;
  private answered = false;
  private over = false;

  constructor(
    private readonly tenure: Tenure,
    private readonly exchange: Exchange,
    private readonly settings: HttpRunSettings,
  ) {
    this.current = new CurrentExecution(tenure.execution);
    this.ticket = issueTicket(this.current);
    markRun(exchange.rawRequest, this);
    this.ending = new Promise((resolve) => (this.settleEnding = resolve));
    this.headersBefore = exchange.headers();
    const { response, policy } = settings.options;
    const limits = { maxBytes: response.maxBytes, maxMs: policy.leaseMs };
    this.capture = new ResponseCapture(exchange.rawResponse, limits, (captured) => void this.onResponse(captured));
  }

  /** The pipeline's view of the run. Begins with the subscription. */
  run(handle: () => Observable<unknown>): Observable<unknown> {
    return new Observable((subscriber) => {
      // An interceptor outside has given up, and answered.
      if (subscriber.closed) this.end({ kind: 'discard' });
      void this.carryOut(handle, subscriber);
      return () => this.noteDesertion();
    });
  }

  private async carryOut(handle: () => Observable<unknown>, subscriber: Subscriber<unknown>): Promise<void> {
    try {
      const finish = await this.tenure.carryOut(() => {
        if (this.current.state === 'barred') return this.ending;
        const { rawResponse } = this.exchange;
        if (rawResponse.closed) void this.onClose();
        else rawResponse.once('close', () => void this.onClose());
        const follow = () => this.follow(handle, subscriber);
        if (this.settings.asyncContext) runWithin(this.current, follow);
        else follow();
        return this.ending;
      });
      this.answer(finish, subscriber);
    } catch (error) {
      this.capture.release();
      subscriber.error(problemOfError(error, this.settings.documentation));
    } finally {
      this.over = true;
      this.giveBackTicket();
    }
  }

  private follow(handle: () => Observable<unknown>, subscriber: Subscriber<unknown>): void {
    const { watched } = this.settings;
    if (!watched) this.current.begin();
    handle().subscribe({
      next: (value) => subscriber.next(value),
      error: (error: unknown) => {
        this.error = errorOfHandler(error, this.settings.documentation);
        this.threw = true;
        if (!watched) this.current.settle('failed');
        this.onFollowed();
        subscriber.error(this.error);
      },
      complete: () => {
        if (!watched) this.current.settle('succeeded');
        this.onFollowed();
        subscriber.complete();
      },
    });
  }

  private onFollowed(): void {
    this.noteDesertion();
    this.followed = true;
    this.giveBackTicket();
  }

  /** Once the run is over, and nothing is on its way to the handler: an interceptor inside may have answered before it. */
  private giveBackTicket(): void {
    if (this.over && (this.followed || this.current.state !== 'not begun')) returnTicket(this.ticket);
  }

  private noteDesertion(): void {
    if (this.current.state === 'running') this.deserted = true;
  }

  /** The response has been made; nothing of it has gone out. */
  private async onResponse(captured: CapturedResponse): Promise<void> {
    this.answered = true;
    if (this.deserted && this.current.state === 'running') return this.outlive();
    this.end(this.soundEndingOf(captured));
  }

  /**
   * The response leaves while the handler still runs: it tells nothing of the operation. That ends when the handler
   * does, and without a response that could be replayed.
   */
  private async outlive(): Promise<void> {
    this.capture.release();
    await this.current.settled();
    this.end(this.endingWithoutResponse());
  }

  /** The client has gone, and perhaps nobody will make a response. */
  private async onClose(): Promise<void> {
    do {
      if (this.answered) return;
      await this.current.settled();
      await sleep(GRACE_AFTER_CLOSE, undefined, { ref: false });
    } while (this.mayStillRun());
    this.end(this.endingWithoutResponse());
  }

  /** The first ending counts. */
  private end(ending: Ending): void {
    if (ending.kind !== 'store' || this.followed) this.current.bar();
    this.settleEnding(ending);
  }

  private mayStillRun(): boolean {
    const { state } = this.current;
    return state === 'running' || (state === 'not begun' && !this.followed);
  }

  /** A response that cannot be packed must not leave its record without an end. */
  private soundEndingOf(captured: CapturedResponse): Ending {
    try {
      return this.endingOf(captured);
    } catch (error) {
      HttpRun.logger.error(`${this.settings.endpoint}: the response cannot be kept`, (error as Error).stack);
      return { kind: 'store', outcome: TOMBSTONE, failed: captured.status >= 400 };
    }
  }

  private endingWithoutResponse(): Ending {
    const done = this.current.state === 'succeeded' && !this.settings.options.policy.transactional;
    return done ? { kind: 'store', outcome: TOMBSTONE, failed: false } : { kind: 'release' };
  }

  private endingOf({ status, body }: CapturedResponse): Ending {
    if (status >= 400 && this.neverBegan()) return { kind: 'discard' };
    const { options } = this.settings;
    if (isToBeReleased(this.settings, { status, error: this.error })) {
      // Streams break off when their client goes away, and platforms make an error of that which tells nothing.
      const brokenOff = this.exchange.rawResponse.closed && !this.threw;
      return brokenOff ? this.endingWithoutResponse() : { kind: 'release' };
    }
    const failed = this.threw || status >= 400;
    if (!body) return { kind: 'store', outcome: TOMBSTONE, failed };
    const head = packHead(headSince(this.exchange.rawResponse, this.headersBefore, options.response));
    return { kind: 'store', outcome: { code: status, head, body }, failed };
  }

  private neverBegan(): boolean {
    const request = this.exchange.request as { [REJECTED_BY_PIPES]?: boolean };
    return this.current.state === 'not begun' || request[REJECTED_BY_PIPES] === true;
  }

  private answer(finish: Finish, subscriber: Subscriber<unknown>): void {
    const instead = answerInstead(finish, this.error, this.settings);
    if (!instead) return this.capture.release();
    if (instead instanceof Error && !this.capture.hasResponse) {
      this.capture.release();
      return subscriber.error(instead);
    }
    if (instead instanceof Error && !(instead instanceof IdempotencyProblem)) {
      this.capture.discard();
      this.exchange.reopen(this.headersBefore);
      return this.settings.filter(instead);
    }
    this.exchange.silence();
    this.capture.replace((response) => {
      resetHeaders(response, this.headersBefore);
      if (instead instanceof IdempotencyProblem) writeProblem(response, instead);
      else writeOutcome(response, instead);
    });
  }
}
