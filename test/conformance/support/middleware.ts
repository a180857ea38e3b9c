import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

type Next = (error?: unknown) => void;

/** Gives each request an id of its own, as tracing does. */
export function requestIds(_request: IncomingMessage, response: ServerResponse, next: Next): void {
  response.setHeader('X-Request-Id', randomUUID());
  next();
}

/** Sends only once something was saved, as express-session does, and sets its cookie at the last moment. */
export function sessions(_request: IncomingMessage, response: ServerResponse, next: Next): void {
  // oxlint-disable-next-line typescript/unbound-method -- called on the response
  const { end, writeHead } = response;
  response.writeHead = ((...args: unknown[]) => {
    response.setHeader('Set-Cookie', `sid=${randomUUID()}`);
    return writeHead.apply(response, args as never);
  }) as ServerResponse['writeHead'];
  response.end = ((...args: unknown[]) => {
    setTimeout(() => end.apply(response, args as never), 5);
    return response;
  }) as ServerResponse['end'];
  next();
}
