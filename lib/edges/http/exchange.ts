import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';
import type { CallerRequest } from '../caller/principal.js';
import { isStream } from '../shared/run-end.js';
import { isWebResponse } from './web-response.js';
import { resetHeaders } from './write-response.js';

/** The members that Express and Fastify requests share. */
export interface PlatformRequest extends CallerRequest {
  readonly method: string;
  readonly params?: unknown;
  readonly body?: unknown;
  /** Without the port. From `X-Forwarded-Host` if the platform trusts the proxy. */
  readonly hostname?: string;
  /** The files that an upload interceptor has read. */
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
  status?: (code: number) => unknown;
}

interface FastifyRequest extends PlatformRequest {
  readonly raw: IncomingMessage;
  readonly routeOptions: { readonly url: string };
}

/** Fastify's reply. Everything that it sends passes through `onSend` hooks. */
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
 * Returns the HTTP exchange of a call. Returns `undefined` for a call that only claims to be HTTP, as contexts of Nest's
 * `ExternalContextCreator` do.
 */
export function exchangeOf(context: ExecutionContext): Exchange | undefined {
  const request: unknown = context.getArgByIndex(0);
  const response: unknown = context.getArgByIndex(1);
  if (!isObject(request) || !isObject(response) || request === response || !('headers' in request)) return undefined;
  // Not the request's own: middleware of Express applications may keep the bytes of a body as `request.raw`.
  return 'raw' in response
    ? new FastifyExchange(request as FastifyRequest, response as FastifyReply)
    : new ExpressExchange(request as ExpressRequest, response as ExpressResponse);
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** A request and its response, on Express and Fastify alike. */
export abstract class Exchange {
  readonly method: string;
  declare readonly reply?: FastifyReply;
  /** The status with which a handler with a native `@Res()` has given Fastify its value. Hooks and serializers that fail change it later. */
  declare givenStatus?: number;

  constructor(
    readonly request: PlatformRequest,
    readonly rawRequest: IncomingMessage,
    readonly rawResponse: ServerResponse,
  ) {
    this.method = request.method;
  }

  /** Method and route template, such as `POST /payments/:id`. */
  abstract get endpoint(): string;
  abstract get status(): number;
  abstract headers(): OutgoingHttpHeaders;
  /** Resets the headers to what they were before the handler ran. */
  abstract resetHeaders(before: OutgoingHttpHeaders): void;
  /** Makes the platform's own reply a no-op, after the response was written to node's `ServerResponse`. */
  abstract suppressFrameworkReply(): void;
  /** Keeps {@link givenStatus}. On Express, what fails after the handler's call throws into the handler. */
  watchNativeReply(): void {}

  /** Resets status and headers, so that a filter can write another response. */
  reopen(before: OutgoingHttpHeaders): void {
    this.resetHeaders(before);
    this.rawResponse.statusCode = 200;
    this.rawResponse.statusMessage = '';
  }
}

class ExpressExchange extends Exchange {
  declare readonly request: ExpressRequest;
  declare readonly rawResponse: ExpressResponse;

  constructor(request: ExpressRequest, response: ExpressResponse) {
    super(request, request, response);
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

  /** A view would be rendered for nothing, with the value of the replay. Loggers would see the status of `@HttpCode()`. */
  suppressFrameworkReply(): void {
    const { rawResponse } = this;
    rawResponse.render = () => undefined;
    rawResponse.status = () => rawResponse;
  }
}

class FastifyExchange extends Exchange {
  declare readonly request: FastifyRequest;

  constructor(
    request: FastifyRequest,
    override readonly reply: FastifyReply,
  ) {
    super(request, request.raw, reply.raw);
  }

  get endpoint(): string {
    return `${this.method} ${this.request.routeOptions.url}`;
  }

  get status(): number {
    return this.reply.statusCode;
  }

  /** Fastify keeps the headers of a reply itself until it sends them. */
  headers(): OutgoingHttpHeaders {
    return { ...this.rawResponse.getHeaders(), ...this.reply.getHeaders() };
  }

  /** Keeps cookies: a plugin's `onSend` hook has written those of a guard, and does not run again. */
  resetHeaders(before: OutgoingHttpHeaders): void {
    resetHeaders(this.rawResponse, before, 'set-cookie');
  }

  override reopen(before: OutgoingHttpHeaders): void {
    super.reopen(before);
    const { rawResponse, reply } = this;
    for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
    for (const [name, value] of Object.entries(rawResponse.getHeaders())) reply.header(name, value);
  }

  /** An error is no value, and a stream is the handler's own work while it is sent. */
  override watchNativeReply(): void {
    const { reply } = this;
    const send = reply.send.bind(reply);
    reply.send = (payload) => {
      if (!(payload instanceof Error) && !isStream(payload) && !isWebResponse(payload))
        this.givenStatus ??= this.status;
      return send(payload);
    };
  }

  /** Fastify would log a warning about a reply that was already sent. */
  suppressFrameworkReply(): void {
    const { reply } = this;
    const send = () => reply;
    Object.assign(reply, { send, view: send });
  }
}
