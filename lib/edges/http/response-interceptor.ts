import type { CallHandler } from '@nestjs/common';
import { ServerResponse } from 'node:http';
import type { Subscriber } from 'rxjs';
import { replaceImplicitHeader } from '../../private-names/node.js';
import { callBack } from './write-arguments.js';

/** Gets the writes to a response instead of node. Each method has the arguments of node's own. */
export interface WriteHandler {
  writeHead(args: readonly unknown[]): void;
  flushHeaders(): void;
  /** Returns what node's `write()` does: `false` lets the writer wait for `'drain'`. */
  write(args: readonly unknown[]): boolean;
  end(args: readonly unknown[]): void;
  /** Returns `false` to ignore a change of headers, and throws to refuse it. */
  mayChangeHeaders(): boolean;
}

/** The run of a request. The edge asks it when the pipeline is subscribed to again. */
interface Run {
  /** Whether the run ended without a response. The request is then admitted again. */
  readonly isOverUnanswered: boolean;
  /** Whether the caller runs inside the latest pass, as a second `@Idempotent()` on the same request does. */
  readonly isWithin: boolean;
  /** Runs the inner pipeline again within the same execution, for an outer interceptor that retries. */
  runAgain(next: CallHandler, subscriber: Subscriber<unknown>): void;
}

type WriteMethods = Pick<
  ServerResponse,
  'write' | 'end' | 'writeHead' | 'flushHeaders' | 'setHeader' | 'setHeaders' | 'appendHeader' | 'removeHeader'
>;

/** Intercepts the methods that write a response. */
export interface ResponseInterceptor {
  /** Node's methods, or those of earlier middleware. */
  readonly original: WriteMethods;
  /** `undefined`: every write passes to `original`. */
  handler: WriteHandler | undefined;
  /** The run that this response answers, if there is one. */
  run: Run | undefined;
}

/** The methods of the previous response. Responses that no middleware has wrapped share them. */
let latest: WriteMethods | undefined;

const INTERCEPTOR = Symbol('nestjs-idempotency:response-interceptor');

type Response = ServerResponse & { [INTERCEPTOR]: ResponseInterceptor };

/**
 * Returns the interceptor of a response, which the first call installs. It is never removed, because a response that loses
 * properties becomes slow for everything that node does with it.
 */
export function interceptorOf(response: ServerResponse): ResponseInterceptor {
  const intercepted = response as Response;
  return intercepted[INTERCEPTOR] ?? intercept(intercepted);
}

/** Returns the handler of a response without installing an interceptor. */
export function writeHandlerOf(response: ServerResponse): WriteHandler | undefined {
  return (response as Partial<Response>)[INTERCEPTOR]?.handler;
}

/**
 * Returns the run that a response answers. It is a property and not in a WeakMap, because V8 keeps a WeakMap's values until its next
 * major collection, and with them everything that the request has allocated.
 */
export function runOf(response: ServerResponse): Run | undefined {
  return (response as Partial<Response>)[INTERCEPTOR]?.run;
}

function intercept(response: Response): ResponseInterceptor {
  const methods: WriteMethods = response as ServerResponse;
  const interceptor: ResponseInterceptor = { original: originalOf(methods), handler: undefined, run: undefined };
  keepAsDictionary(response);
  response[INTERCEPTOR] = interceptor;
  methods.write = interceptWrite as WriteMethods['write'];
  methods.end = interceptEnd as WriteMethods['end'];
  methods.writeHead = interceptWriteHead as WriteMethods['writeHead'];
  methods.flushHeaders = interceptFlushHeaders;
  methods.setHeader = interceptSetHeader as WriteMethods['setHeader'];
  methods.appendHeader = interceptAppendHeader as WriteMethods['appendHeader'];
  methods.removeHeader = interceptRemoveHeader;
  // HTTP/2 has none.
  if ('setHeaders' in response) methods.setHeaders = interceptSetHeaders as WriteMethods['setHeaders'];
  return interceptor;
}

function originalOf(methods: WriteMethods): WriteMethods {
  // oxlint-disable-next-line typescript/unbound-method -- called on the response
  const { write, end, writeHead, flushHeaders, setHeader, setHeaders, appendHeader, removeHeader } = methods;
  const isAsBefore =
    latest?.write === write &&
    latest.end === end &&
    latest.writeHead === writeHead &&
    latest.flushHeaders === flushHeaders &&
    latest.setHeader === setHeader &&
    latest.setHeaders === setHeaders &&
    latest.appendHeader === appendHeader &&
    latest.removeHeader === removeHeader;
  if (!isAsBefore) {
    latest = { write, end, writeHead, flushHeaders, setHeader, setHeaders, appendHeader, removeHeader };
  }
  return latest!;
}

const MAKES_HIDDEN_CLASSES = Number.parseInt(process.versions.node, 10) < 24;

/**
 * Turns an Express response into a dictionary, by removing a property, before properties are added. Express gives each response a
 * prototype of its own, and before Node 24 every property that is added to one creates a new hidden class: about 4 us and much garbage.
 */
function keepAsDictionary(response: ServerResponse): void {
  if (!MAKES_HIDDEN_CLASSES || Object.getPrototypeOf(response) === ServerResponse.prototype) return;
  const { sendDate } = response;
  delete (response as Partial<ServerResponse>).sendDate;
  response.sendDate = sendDate;
}

function interceptWrite(this: Response, ...args: unknown[]): boolean {
  const { handler, original } = this[INTERCEPTOR];
  return handler ? handler.write(args) : original.write.apply(this, args as never);
}

function interceptEnd(this: Response, ...args: unknown[]): ServerResponse {
  const { handler, original } = this[INTERCEPTOR];
  if (!handler) return original.end.apply(this, args as never);
  handler.end(args);
  return this;
}

function interceptWriteHead(this: Response, ...args: unknown[]): ServerResponse {
  const { handler, original } = this[INTERCEPTOR];
  if (!handler) return original.writeHead.apply(this, args as never);
  handler.writeHead(args);
  return this;
}

function interceptFlushHeaders(this: Response): void {
  const { handler, original } = this[INTERCEPTOR];
  if (handler) handler.flushHeaders();
  else original.flushHeaders.call(this);
}

function interceptHeaders(name: 'setHeader' | 'setHeaders' | 'appendHeader') {
  return function (this: Response, ...args: unknown[]): ServerResponse {
    const { handler, original } = this[INTERCEPTOR];
    const change = original[name] as WriteMethods['setHeader'];
    return handler && !handler.mayChangeHeaders() ? this : change.apply(this, args as never);
  };
}

const interceptSetHeader = interceptHeaders('setHeader');
const interceptSetHeaders = interceptHeaders('setHeaders');
const interceptAppendHeader = interceptHeaders('appendHeader');

function interceptRemoveHeader(this: Response, name: string): void {
  const { handler, original } = this[INTERCEPTOR];
  if (!handler || handler.mayChangeHeaders()) original.removeHeader.call(this, name);
}

/**
 * Calls `listener` when a response is closed. Raises the limit above which node warns of a leak: frameworks and tracers together have
 * as many listeners as it allows, for a stream on Fastify under Sentry.
 */
export function onClose(response: ServerResponse, listener: () => void): void {
  const limit = response.getMaxListeners();
  // 0 is no limit.
  if (limit > 0) response.setMaxListeners(limit + 1);
  response.on('close', listener);
}

function noop(this: unknown): void {}

/**
 * Discards every later write to a response, without an error to its writer.
 *
 * @param onEnd called when a writer ends the response
 */
export function discardWrites(response: ServerResponse, onEnd?: () => void): void {
  const interceptor = interceptorOf(response);
  const handler: WriteHandler = onEnd ? { ...discarding, end: (args) => (callBack(args), onEnd()) } : discarding;
  interceptor.handler = handler;
  response.addTrailers = noop;
  response.writeContinue = noop;
  response.writeProcessing = noop;
  response.writeEarlyHints = noop;
  const { statusCode } = response;
  // Middleware may send a response later than it was written, as express-session does after it has saved the session.
  replaceImplicitHeader(response, () => {
    interceptor.handler = undefined;
    response.writeHead(statusCode);
    interceptor.handler = handler;
  });
}

const discarding: WriteHandler = {
  writeHead: noop,
  flushHeaders: noop,
  write(args) {
    callBack(args);
    return true;
  },
  end: callBack,
  mayChangeHeaders: () => false,
};
