import { Logger } from '@nestjs/common';
import type { OutgoingHttpHeaders } from 'node:http';
import type { CurrentExecution } from '../../engine/current-execution.js';
import type { LeasedExecution } from '../../engine/leased-execution.js';
import type { HandlerResult } from '../../engine/recorder.js';
import { TOMBSTONE } from '../../engine/outcome.js';
import { statusOfError } from '../../options/error-status.js';
import { REJECTED_BY_PIPES } from '../../private-names/nest.js';
import { errorOfHandler } from '../../problems/from-engine.js';
import { headSince, packHead } from '../content/response-head.js';
import { outcomeToKeep } from '../content/response-to-keep.js';
import { isWorkToBeDone, STORE_WITHOUT_RESPONSE, storedResult, unstoredResult } from '../shared/run-end.js';
import type { Exchange } from './exchange.js';
import { isClosed } from './http2.js';
import type { HttpOperation } from './http-operations.js';
import type { PipelinePass } from './pipeline-pass.js';
import type { CapturedResponse } from './response-capture.js';
import { isWebResponse } from './web-response.js';

/**
 * Who wrote a response: the handler (by `@Res()`), an inner interceptor, or code outside of the execution, which is the framework or a
 * foreign writer such as a timeout middleware.
 */
export type Writer = 'handler' | 'interceptor' | 'outside';

/** What is known of a run. From it, this file decides whose the response is, and what the result. */
export interface RunState {
  readonly leased: LeasedExecution;
  readonly operation: HttpOperation;
  readonly exchange: Exchange;
  readonly current: CurrentExecution;
  /** The latest pass. It decides the result. */
  readonly pass: PipelinePass;
  /** The number of passes that have not ended. */
  readonly openPasses: number;
  /** Set when the capture reports a response. A run may end without one. */
  readonly writer: Writer | undefined;
  /** The headers that were there before the pipeline ran. */
  readonly headersBefore: OutgoingHttpHeaders;
}

const logger = new Logger('Idempotency');

/**
 * How a response is sent.
 *
 * - `'unclaimed'`: at once, and the claim leaves no trace: the handler never began.
 * - `'foreign'`: at once, while the operation goes on: the response is not the operation's.
 * - `'streamed'`: as it is written, except its end, which waits for the commit.
 * - `'unstorable'`: as it is written. The operation ends after it.
 * - `'recorded'`: when the outcome is recorded.
 */
export type Sending = 'unclaimed' | 'foreign' | 'streamed' | 'unstorable' | 'recorded';

export function sendingOf(run: RunState, { status, body, isStreamed }: CapturedResponse): Sending {
  if (neverBegan(run) && (status >= 400 || run.pass.thrown)) return 'unclaimed';
  if (!isOfOperation(run, status)) return 'foreign';
  if (isStreamed || (!body && worksInTransaction(run))) return 'streamed';
  return !body && (isBusy(run) || isNative(run)) ? 'unstorable' : 'recorded';
}

/** @param from the execution of the code that writes the response, if it has one */
export function writerOf({ operation, current, openPasses }: RunState, from: CurrentExecution | undefined): Writer {
  if (from?.execution !== current.execution) return 'outside';
  if (operation.native || (from.isCall && current.calls.state === 'running')) return 'handler';
  return openPasses > 0 ? 'interceptor' : 'outside';
}

/**
 * Returns whether the operation itself wrote a response. One that is written while the handler runs is foreign, such as a timeout
 * middleware's 503. If it were stored, a retry would replay the 503 of a payment that went through. Two writers are exceptions: a
 * handler that has the response by `@Res()`, and an inner interceptor that does the work after the handler has returned, as oRPC's
 * does.
 */
function isOfOperation(run: RunState, status: number): boolean {
  const { operation, pass, writer } = run;
  const { state, isBody } = run.current.calls;
  if (writer === 'handler') return true;
  if (writer === 'interceptor') return state === 'succeeded';
  // The first chunk of a generator; an error while it runs is foreign.
  if (isBusy(run)) return isBody && status < 400;
  if (!operation.native) return !pass.isGivenUp;
  // A callback may have lost the async context, so an error response may be the handler's own or a foreign one.
  return status < 400 || pass.thrown !== undefined || state !== 'succeeded';
}

/** Whether the handler writes the response: by a native `@Res()`, or by one with `passthrough`, to redirect for example. */
export function isNative({ operation, writer }: RunState): boolean {
  return operation.native || writer === 'handler';
}

/**
 * Whether a response that cannot be held to its end is written by work in the transaction: by the handler, or by its stream. An
 * early COMMIT would cut that work in two, and its end must not reach the client before COMMIT.
 */
function worksInTransaction(run: RunState): boolean {
  if (!run.operation.options.policy.transactional) return false;
  return run.pass.source !== undefined || isBusy(run) || isNative(run);
}

/** Whether the handler, or an interceptor that does its work, may still change the result. */
export function isBusy({ pass, current }: RunState): boolean {
  return pass.phase !== 'ended' || current.calls.state === 'running';
}

/** Whether the handler never began, such as when a pipe rejected the request. The key stays free for a corrected one. */
function neverBegan({ operation, exchange, current }: RunState): boolean {
  if (current.calls.state === 'not begun') return true;
  const request = exchange.request as { [REJECTED_BY_PIPES]?: boolean };
  return !operation.watched && request[REJECTED_BY_PIPES] === true;
}

/**
 * Whether the handler's stream broke off in a transaction: it failed, or its client has disconnected. Only a part of its work is done,
 * and it can be rolled back. Outside of a transaction, the handler has succeeded, and a retry must not run it again. A generator is
 * the handler itself, and has failed.
 */
export function isTruncated({ operation, pass, current: { calls } }: RunState): boolean {
  if (calls.isBody) return calls.state === 'failed';
  return operation.options.policy.transactional && pass.isTruncated;
}

/** Whether the handler is known to run. The call of an unwatched handler ends with its pass. */
export function isHandlerRunning({ operation, current }: RunState): boolean {
  return operation.watched && current.calls.state === 'running';
}

/**
 * Whether a native handler failed only because it sent its response to a client that had disconnected. Never in a transaction, which
 * any error rolls back.
 *
 * @param hasResponse whether a response has begun
 */
export function isClientAbort({ operation, exchange }: RunState, error: unknown, hasResponse: boolean): boolean {
  if (!operation.native || operation.options.policy.transactional) return false;
  const isGone = isClosed(exchange.rawResponse) && hasResponse;
  return isGone && (error as { code?: unknown } | null | undefined)?.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

/**
 * Whether no response is to be expected of a run whose client has gone: platforms stop a stream when its client disconnects. Fastify writes
 * none where middleware had ended the response before the run began.
 *
 * @param hasResponse whether a response has begun
 */
export function isResponseUnlikely({ pass, current, exchange }: RunState, hasResponse: boolean): boolean {
  const { state, isBody } = current.calls;
  const mayCome = state !== 'not begun' && !isBody && !exchange.rawResponse.writableEnded;
  return pass.isGivenUp || pass.isStream || hasResponse || !mayCome;
}

/** The status of the web Response that the handler has returned. */
export function webStatusOf({ current }: RunState): number | undefined {
  const { value } = current.calls;
  return isWebResponse(value) ? value.status : undefined;
}

/**
 * @param isKnown whether the run has seen the operation end
 * @param status of the response that a native handler wrote, although it was not sent
 */
export function resultWithoutResponse(run: RunState, isKnown: boolean, status?: number): HandlerResult {
  const { state } = run.current.calls;
  if (state === 'not begun') return { kind: 'discard' };
  if (!isKnown) return { kind: 'unknown' };
  if (run.pass.thrown?.isClientAbort) return STORE_WITHOUT_RESPONSE;
  return state === 'succeeded' && !hasHandlerFailed(run, status) ? STORE_WITHOUT_RESPONSE : { kind: 'release' };
}

/**
 * Returns the result of a generator that failed before its first chunk, after its client had gone: Nest then asks no exception filter for a
 * response to its error. As that of any other handler, its error decides whether the operation runs again.
 */
export function resultOfUnansweredError({ operation, current }: RunState): HandlerResult {
  const error = errorOfHandler(current.calls.error, operation.documentation);
  const unstored = unstoredResult(operation, { status: statusOfError(error), error, handlerFailed: true }, current);
  return unstored ?? storedResult(TOMBSTONE, true, true);
}

/** Returns a tombstone if the response cannot be packed, because an error would leave the record in `processing` until its lease ends. */
export function resultOf(run: RunState, { status, body }: CapturedResponse): HandlerResult {
  const { operation, exchange, current } = run;
  const { thrown } = run.pass;
  if (thrown?.isClientAbort) return STORE_WITHOUT_RESPONSE;
  const { response } = operation.options;
  const handlerFailed = hasHandlerFailed(run, status);
  const failed = thrown !== undefined || handlerFailed || status >= 400;
  try {
    const error = thrown ? thrown.error : errorOfHandler(current.calls.error, operation.documentation);
    const unstored = unstoredResult(operation, { status, error, handlerFailed }, current);
    // The platform reports an error when a client leaves a stream. That error says nothing about the operation.
    const isLeftByClient = unstored?.kind === 'release' && isClosed(exchange.rawResponse) && !thrown;
    if (isLeftByClient) return resultWithoutResponse(run, true, webStatusOf(run));
    if (unstored?.kind === 'store') logFailureAfterHandler(run, status);
    if (unstored) return unstored;
    if (!body) return storedResult(TOMBSTONE, failed, handlerFailed);
    const head = packHead(headSince(exchange.rawResponse, headersOfOthers(run), response));
    const outcome = outcomeToKeep({ code: status, head, body }, response);
    return storedResult(outcome, failed, handlerFailed);
  } catch (error) {
    logger.error(`${operation.endpoint}: the response cannot be kept`, (error as Error | undefined)?.stack);
    return storedResult(TOMBSTONE, failed, handlerFailed);
  }
}

function logFailureAfterHandler({ operation, leased }: RunState, status: number): void {
  logger.error(
    `${operation.endpoint}: answered ${status} after its handler had succeeded, and is on record ` +
      `(${leased.operation.recordId}) as carried out. If a transaction of an interceptor failed, nothing was written`,
  );
}

/** The headers before the pipeline, except those of the handler's own `@Header()`: a replay must have the values of the first. */
function headersOfOthers({ operation: { computedHeaders }, headersBefore }: RunState): OutgoingHttpHeaders {
  if (computedHeaders.length === 0) return headersBefore;
  const others = { ...headersBefore };
  for (const name of computedHeaders) delete others[name];
  return others;
}

/**
 * Returns whether the handler failed, and not something that ran after it.
 *
 * @param status of the response, if there is one
 */
function hasHandlerFailed(run: RunState, status: number | undefined): boolean {
  const { calls } = run.current;
  if (calls.state === 'failed' || isTruncated(run)) return true;
  // An interceptor failed to commit what the handler wrote, and the application says so.
  if (calls.isUndone && (status === undefined || status >= 400)) return true;
  if (run.pass.thrown) return isWorkToBeDone(calls.value);
  if (status === undefined || status < 400) return false;
  if (run.writer === 'interceptor') return isWorkToBeDone(calls.value);
  // A hook or a serializer of Fastify has failed.
  if (run.exchange.givenStatus! < 400) return false;
  // Any other status than the handler's comes from a failure after it. ts-rest keeps the handler's status in its value.
  return isNative(run) || status === run.pass.status || status === statusIn(calls.value);
}

function statusIn(value: unknown): unknown {
  try {
    return (value as { status?: unknown } | null | undefined)?.status;
  } catch {
    // A getter that throws, for which the value could not be sent.
    return undefined;
  }
}
