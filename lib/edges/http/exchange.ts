import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';
import { resetHeaders } from './write-response.js';

/** A request and its response, as Express and Fastify both have them. */
export interface Exchange {
  readonly method: string;
  /** Method and route template, such as `POST /payments/:id`. */
  readonly endpoint: string;
  readonly request: PlatformRequest;
  readonly rawRequest: IncomingMessage;
  readonly rawResponse: ServerResponse;
  /** The status that is set on the response at present. */
  readonly status: number;
  /** On Fastify only. */
  readonly reply?: FastifyReply;
  /** The headers that are set on the response at present. */
  headers(): OutgoingHttpHeaders;
  /** Resets the handler's headers to what they were before it ran. */
  resetHeaders(before: OutgoingHttpHeaders): void;
  /** Resets status and headers to what they were before the handler ran, so that a filter can write another response. */
  reopen(before: OutgoingHttpHeaders): void;
  /** Makes the platform's reply a no-op, after the response was written to node's `ServerResponse`. */
  suppressFrameworkReply(): void;
}

/** What an Express and a Fastify request have in common. */
export interface PlatformRequest {
  readonly headers: IncomingMessage['headers'];
  readonly params?: unknown;
  readonly body?: unknown;
  readonly user?: unknown;
  /** The claims of a token, as express-jwt sets them. */
  readonly auth?: unknown;
  /** Without the port; of `X-Forwarded-Host` where the platform trusts the proxy. */
  readonly hostname?: string;
  /** The file that an upload interceptor has read. */
  readonly file?: unknown;
  readonly files?: unknown;
}

interface ExpressRequest extends IncomingMessage, PlatformRequest {
  readonly headers: IncomingMessage['headers'];
  readonly method: string;
  readonly route: { readonly path: string | RegExp | readonly (string | RegExp)[] };
}

interface ExpressResponse extends ServerResponse {
  render?: (view: string) => unknown;
}

interface FastifyRequest extends PlatformRequest {
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly routeOptions: { readonly url: string };
}

/** Fastify's reply: what it sends passes through `onSend` hooks. */
export interface FastifyReply {
  readonly raw: ServerResponse;
  readonly statusCode: number;
  getHeader(name: string): OutgoingHttpHeader | undefined;
  getHeaders(): OutgoingHttpHeaders;
  header(name: string, value: unknown): unknown;
  removeHeader(name: string): unknown;
  send(payload?: unknown): unknown;
}

/**
 * Returns the HTTP exchange of a call, or `undefined` where there is none: contexts of Nest's `ExternalContextCreator` claim to be
 * HTTP, whatever they are.
 */
export function exchangeOf(context: ExecutionContext): Exchange | undefined {
  const request: unknown = context.getArgByIndex(0);
  const response: unknown = context.getArgByIndex(1);
  if (!isObject(request) || !isObject(response) || request === response || !('headers' in request)) return undefined;
  return 'raw' in request
    ? new FastifyExchange(request as FastifyRequest, response as FastifyReply)
    : new ExpressExchange(request as ExpressRequest, response as ExpressResponse);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

class ExpressExchange implements Exchange {
  readonly method: string;
  readonly rawRequest: IncomingMessage;

  constructor(
    readonly request: ExpressRequest,
    readonly rawResponse: ExpressResponse,
  ) {
    this.method = request.method;
    this.rawRequest = request;
  }

  get endpoint(): string {
    return `${this.method} ${String(this.request.route.path)}`;
  }

  get status(): number {
    return this.rawResponse.statusCode;
  }

  headers(): OutgoingHttpHeaders {
    return this.rawResponse.getHeaders();
  }

  resetHeaders(before: OutgoingHttpHeaders): void {
    resetHeaders(this.rawResponse, before);
  }

  reopen(before: OutgoingHttpHeaders): void {
    this.resetHeaders(before);
    resetStatus(this.rawResponse);
  }

  /** A view would be rendered in vain, with the replay's value. */
  suppressFrameworkReply(): void {
    this.rawResponse.render = () => undefined;
  }
}

class FastifyExchange implements Exchange {
  readonly method: string;
  readonly rawRequest: IncomingMessage;
  readonly rawResponse: ServerResponse;

  constructor(
    readonly request: FastifyRequest,
    readonly reply: FastifyReply,
  ) {
    this.method = request.method;
    this.rawRequest = request.raw;
    this.rawResponse = reply.raw;
  }

  get endpoint(): string {
    return `${this.method} ${this.request.routeOptions.url}`;
  }

  get status(): number {
    return this.reply.statusCode;
  }

  /** Fastify keeps its own headers until it sends. */
  headers(): OutgoingHttpHeaders {
    return { ...this.rawResponse.getHeaders(), ...this.reply.getHeaders() };
  }

  /** Cookies stay: plugins write a guard's cookies in an `onSend` hook, which has run already. */
  resetHeaders(before: OutgoingHttpHeaders): void {
    resetHeaders(this.rawResponse, before, 'set-cookie');
  }

  reopen(before: OutgoingHttpHeaders): void {
    const { rawResponse, reply } = this;
    this.resetHeaders(before);
    const headers = rawResponse.getHeaders();
    for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
    for (const [name, value] of Object.entries(headers)) reply.header(name, value);
    resetStatus(rawResponse);
  }

  /** Fastify would warn of a reply that was already sent. */
  suppressFrameworkReply(): void {
    const { reply } = this;
    const send = () => reply;
    Object.assign(reply, { send, view: send });
  }
}

function resetStatus(response: ServerResponse): void {
  response.statusCode = 200;
  response.statusMessage = '';
}
