import type { CallHandler } from '@nestjs/common';
import { ServerResponse } from 'node:http';
import type { Subscriber } from 'rxjs';
import { replaceImplicitHeader } from '../../private-names/node.js';

/** Decides what becomes of what is written to a response. Each method has the arguments that node's own was called with. */
export interface GateKeeper {
  writeHead(args: readonly unknown[]): void;
  flushHeaders(): void;
  /** Whether the writer may go on at once. */
  write(args: readonly unknown[]): boolean;
  end(args: readonly unknown[]): void;
  /** Whether headers are changed, or nothing is done and nothing said. */
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

type Gated = Pick<
  ServerResponse,
  'write' | 'end' | 'writeHead' | 'flushHeaders' | 'setHeader' | 'setHeaders' | 'appendHeader' | 'removeHeader'
>;

/** Stands before the methods by which a response is written. */
export interface Gate {
  /** The response's own, and what earlier middleware has put in their place. */
  readonly original: Gated;
  /** `undefined`: everything passes. */
  keeper: GateKeeper | undefined;
  /** The run of the request that is answered by this response, if it was run. */
  run: Run | undefined;
}

/** Those of the response before. */
let latest: Gated | undefined;

const GATE = Symbol('nestjs-idempotency:gate');

type Response = ServerResponse & { [GATE]: Gate };

/**
 * The gate of a response, which is put up at the first call. It stays for good, open in the end: to take properties away
 * again would make the response slow for all that node still does with it, as closures for each response would.
 */
export function gateOf(response: ServerResponse): Gate {
  const gated = response as Response;
  return gated[GATE] ?? putUp(gated);
}

/** Who decides about a response, without a gate being put up. */
export function keeperOf(response: ServerResponse): GateKeeper | undefined {
  return (response as Partial<Response>)[GATE]?.keeper;
}

/**
 * The run of the request that a response answers: an interceptor that is wired twice does its work once. Kept here and not in a
 * WeakMap, whose values V8 takes for reachable until its next major collection: all that a request has made would live as long.
 */
export function runOf(response: ServerResponse): Run | undefined {
  return (response as Partial<Response>)[GATE]?.run;
}

function putUp(response: Response): Gate {
  const methods: Gated = response as ServerResponse;
  const gate: Gate = { original: originalOf(methods), keeper: undefined, run: undefined };
  makeRoom(response);
  response[GATE] = gate;
  methods.write = gatedWrite as Gated['write'];
  methods.end = gatedEnd as Gated['end'];
  methods.writeHead = gatedWriteHead as Gated['writeHead'];
  methods.flushHeaders = gatedFlushHeaders;
  methods.setHeader = gatedSetHeader as Gated['setHeader'];
  methods.appendHeader = gatedAppendHeader as Gated['appendHeader'];
  methods.removeHeader = gatedRemoveHeader;
  // HTTP/2 has none.
  if ('setHeaders' in response) methods.setHeaders = gatedSetHeaders as Gated['setHeaders'];
  return gate;
}

/** Responses that no middleware has wrapped have the same methods. */
function originalOf(methods: Gated): Gated {
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
function makeRoom(response: ServerResponse): void {
  if (!MAKES_HIDDEN_CLASSES || Object.getPrototypeOf(response) === ServerResponse.prototype) return;
  const { sendDate } = response;
  delete (response as Partial<ServerResponse>).sendDate;
  response.sendDate = sendDate;
}

function gatedWrite(this: Response, ...args: unknown[]): boolean {
  const { keeper, original } = this[GATE];
  return keeper ? keeper.write(args) : original.write.apply(this, args as never);
}

function gatedEnd(this: Response, ...args: unknown[]): ServerResponse {
  const { keeper, original } = this[GATE];
  if (!keeper) return original.end.apply(this, args as never);
  keeper.end(args);
  return this;
}

function gatedWriteHead(this: Response, ...args: unknown[]): ServerResponse {
  const { keeper, original } = this[GATE];
  if (!keeper) return original.writeHead.apply(this, args as never);
  keeper.writeHead(args);
  return this;
}

function gatedFlushHeaders(this: Response): void {
  const { keeper, original } = this[GATE];
  if (keeper) keeper.flushHeaders();
  else original.flushHeaders.call(this);
}

function gatedSetHeader(this: Response, ...args: unknown[]): ServerResponse {
  const { keeper, original } = this[GATE];
  return keeper && !keeper.mayChangeHeaders() ? this : original.setHeader.apply(this, args as never);
}

function gatedSetHeaders(this: Response, ...args: unknown[]): ServerResponse {
  const { keeper, original } = this[GATE];
  return keeper && !keeper.mayChangeHeaders() ? this : original.setHeaders.apply(this, args as never);
}

function gatedAppendHeader(this: Response, ...args: unknown[]): ServerResponse {
  const { keeper, original } = this[GATE];
  return keeper && !keeper.mayChangeHeaders() ? this : original.appendHeader.apply(this, args as never);
}

function gatedRemoveHeader(this: Response, name: string): void {
  const { keeper, original } = this[GATE];
  if (!keeper || keeper.mayChangeHeaders()) original.removeHeader.call(this, name);
}

/** Called on the response: what is left of methods that would still write to it. */
function nothing(this: unknown): void {}

/**
 * Makes everything that would still write to a response a no-op.
 *
 * @param onEnd called when something would end it
 */
export function mute(response: ServerResponse, onEnd?: () => void): void {
  const gate = gateOf(response);
  const keeper: GateKeeper = onEnd ? { ...silence, end: (args) => (callBack(args), onEnd()) } : silence;
  gate.keeper = keeper;
  response.addTrailers = nothing;
  response.writeContinue = nothing;
  response.writeProcessing = nothing;
  response.writeEarlyHints = nothing;
  const { statusCode } = response;
  // Middleware may still have to send what it was given, as sessions do once they are saved.
  replaceImplicitHeader(response, () => {
    gate.keeper = undefined;
    response.writeHead(statusCode);
    gate.keeper = keeper;
  });
}

const silence: GateKeeper = {
  writeHead: nothing,
  flushHeaders: nothing,
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
