import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ExecutionContext } from '@nestjs/common';

/** A request and its response, as Express and Fastify both have them. */
export interface Exchange {
  readonly method: string;
  /** Method and route template, such as `POST /payments/:id`. */
  readonly endpoint: string;
  /** Of the handler, where it has one: a version may be told by a header, and not by the route. */
  readonly version: string;
  readonly request: PlatformRequest;
  readonly rawRequest: IncomingMessage;
  readonly rawResponse: ServerResponse;
  /** The headers that are set on the response by now. */
  headers(): OutgoingHttpHeaders;
  /** Keeps the platform from sending anything more: the response has been written to node's own. */
  silence(): void;
}

/** What an Express and a Fastify request have in common. */
export interface PlatformRequest {
  readonly headers: IncomingMessage['headers'];
  readonly params?: unknown;
  readonly body?: unknown;
  readonly user?: unknown;
  /** What an interceptor for uploads has read. */
  readonly file?: unknown;
  readonly files?: unknown;
}

interface ExpressRequest extends IncomingMessage, PlatformRequest {
  readonly headers: IncomingMessage['headers'];
  readonly originalUrl?: string;
  readonly route?: { readonly path?: string | RegExp | readonly (string | RegExp)[] };
}

interface ExpressResponse extends ServerResponse {
  render?: (view: string) => unknown;
}

interface FastifyRequest extends PlatformRequest {
  readonly raw: IncomingMessage;
  readonly routeOptions?: { readonly url?: string };
}

interface FastifyReply {
  readonly raw: ServerResponse;
  getHeaders(): OutgoingHttpHeaders;
  send(payload?: unknown): unknown;
}

/** Nest's metadata key. */
const VERSION = '__version__';

export function exchangeOf(context: ExecutionContext): Exchange {
  const http = context.switchToHttp();
  const version = versionOf(context);
  const request = http.getRequest<ExpressRequest | FastifyRequest>();
  return 'raw' in request
    ? fastifyExchange(request, http.getResponse<FastifyReply>(), version)
    : expressExchange(request, http.getResponse<ExpressResponse>(), version);
}

function versionOf(context: ExecutionContext): string {
  const version: unknown =
    Reflect.getMetadata(VERSION, context.getHandler()) ?? Reflect.getMetadata(VERSION, context.getClass());
  return version === undefined ? '' : [version].flat().map(String).join();
}

function expressExchange(request: ExpressRequest, response: ExpressResponse, version: string): Exchange {
  const method = request.method ?? '';
  return {
    method,
    version,
    endpoint: `${method} ${String(request.route?.path ?? pathOf(request.originalUrl ?? request.url))}`,
    request,
    rawRequest: request,
    rawResponse: response,
    headers: () => response.getHeaders(),
    // Its view would be rendered for nothing, and of nothing.
    silence: () => void (response.render = () => undefined),
  };
}

function fastifyExchange(request: FastifyRequest, reply: FastifyReply, version: string): Exchange {
  const { raw } = request;
  const method = raw.method ?? '';
  return {
    method,
    version,
    endpoint: `${method} ${request.routeOptions?.url ?? pathOf(raw.url)}`,
    request,
    rawRequest: raw,
    rawResponse: reply.raw,
    // Fastify keeps headers of its own until it sends.
    headers: () => ({ ...reply.raw.getHeaders(), ...reply.getHeaders() }),
    // It would warn of a reply that was already sent.
    silence: () => void Object.assign(reply, { send: () => reply, view: () => reply }),
  };
}

function pathOf(url = ''): string {
  return url.split('?', 1)[0];
}
