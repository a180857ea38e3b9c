import type { CallHandler } from '@nestjs/common';
import { ServerResponse } from 'node:http';
import type { Subscriber } from 'rxjs';
import { replaceImplicitHeader } from '../../private-names/node.js';

/** Handles what is written to a response. Each method has the arguments that node's own was called with. */
export interface WriteHandler {
  writeHead(args: readonly unknown[]): void;
  flushHeaders(): void;
  /** Whether the writer may go on at once. */
  write(args: readonly unknown[]): boolean;
  end(args: readonly unknown[]): void;
  /** Whether headers are changed. Otherwise a change has no effect, and raises no error. */
  mayChangeHeaders(): boolean;
}

/** The run of a request, as the edge needs it where the pipeline comes to the request once more. */
interface Run {
  /** Whether it is over, and has not answered. */
  readonly isOverUnanswered: boolean;
  /** Whether the caller is part of it. */
  readonly isWithin: boolean;
  /** Runs what is left of the pipeline again: an interceptor outside tries again. */
  runAgain(next: CallHandler, subscriber: Subscriber<unknown>): void;
}

type WriteMethods = Pick<
  ServerResponse,
  'write' | 'end' | 'writeHead' | 'flushHeaders' | 'setHeader' | 'setHeaders' | 'appendHeader' | 'removeHeader'
>;

/** Intercepts the methods by which a response is written. */
export interface ResponseInterceptor {
  /** The response's own, and what earlier middleware has put in their place. */
  readonly original: WriteMethods;
  /** Gets what is written; `undefined`: everything passes. */
  handler: WriteHandler | undefined;
  /** The run of the request that is answered by this response, if it was run. */
  run: Run | undefined;
}

/** The methods of the previous response. */
let latest: WriteMethods | undefined;

const INTERCEPTOR = Symbol('nestjs-idempotency:response-interceptor');

type Response = ServerResponse & { [INTERCEPTOR]: ResponseInterceptor };

/**
 * Returns the interceptor of a response, which the first call installs. It stays, without a handler in the end: removing properties
 * would make the response slow for all that node still does with it, as closures for each response would.
 */
export function interceptorOf(response: ServerResponse): ResponseInterceptor {
  const intercepted = response as Response;
  return intercepted[INTERCEPTOR] ?? intercept(intercepted);
}

/** Returns what handles a response's writes, without installing an interceptor. */
export function writeHandlerOf(response: ServerResponse): WriteHandler | undefined {
  return (response as Partial<Response>)[INTERCEPTOR]?.handler;
}

/**
 * The run of the request that a response answers: an interceptor that is wired twice does its work once. Kept here and not in a
 * WeakMap, whose values V8 takes for reachable until its next major collection: all that a request has made would live as long.
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

/** Responses that no middleware has wrapped have the same methods. */
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
 * Express gives each response another prototype. Before Node 24, V8 then makes a hidden class of its own for every property
 * that is added to it, some 4 us and much garbage each; to a response that it keeps as a dictionary, which one is that has
 * lost a property, they cost next to nothing.
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

function interceptSetHeader(this: Response, ...args: unknown[]): ServerResponse {
  const { handler, original } = this[INTERCEPTOR];
  return handler && !handler.mayChangeHeaders() ? this : original.setHeader.apply(this, args as never);
}

function interceptSetHeaders(this: Response, ...args: unknown[]): ServerResponse {
  const { handler, original } = this[INTERCEPTOR];
  return handler && !handler.mayChangeHeaders() ? this : original.setHeaders.apply(this, args as never);
}

function interceptAppendHeader(this: Response, ...args: unknown[]): ServerResponse {
  const { handler, original } = this[INTERCEPTOR];
  return handler && !handler.mayChangeHeaders() ? this : original.appendHeader.apply(this, args as never);
}

function interceptRemoveHeader(this: Response, name: string): void {
  const { handler, original } = this[INTERCEPTOR];
  if (!handler || handler.mayChangeHeaders()) original.removeHeader.call(this, name);
}

/** Replaces methods of the response that would still write to it. */
function noop(this: unknown): void {}

/**
 * Discards everything that would still be written to a response.
 *
 * @param onEnd called when something would end it
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
  // Middleware may still have to send what it was given, as sessions do once they are saved.
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

function callBack(args: readonly unknown[]): void {
  const callback = args.find((arg) => typeof arg === 'function') as (() => void) | undefined;
  if (callback) queueMicrotask(callback);
}
