import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type CallHandler,
  type ExecutionContext,
  HttpException,
  Inject,
  mixin,
  type NestInterceptor,
  RequestTimeoutException,
  type Type,
} from '@nestjs/common';
import { catchError, type Observable, retry, throwError, timeout, TimeoutError } from 'rxjs';
import type { Hardship } from '../history/entry.js';
import { Log } from '../history/log.js';

/** An interceptor or a middleware answers instead of the handler after so many milliseconds. */
export const TIMEOUT_MS = 120;

function report(log: Log, { headers }: Pick<IncomingMessage, 'headers'>, what: Hardship): void {
  log.say({ kind: 'met', op: `${String(headers['x-op'])}-${String(headers['x-principal'])}`, what });
}

function requestOf(context: ExecutionContext): IncomingMessage {
  return context.switchToHttp().getRequest<IncomingMessage>();
}

/** Answers 408 while the handler runs, as Nest's documentation shows. */
export class TimeoutInterceptor implements NestInterceptor {
  constructor(@Inject(Log) private readonly log: Log) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const answer = (error: unknown) => {
      if (!(error instanceof TimeoutError)) return throwError(() => error);
      report(this.log, requestOf(context), 'interceptor timed out');
      return throwError(() => new RequestTimeoutException());
    };
    return next.handle().pipe(timeout(TIMEOUT_MS), catchError(answer));
  }
}

/** Calls once more a handler that has failed. */
export function retrying(what: Hardship): Type<NestInterceptor> {
  class RetryInterceptor implements NestInterceptor {
    constructor(@Inject(Log) private readonly log: Log) {}

    intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
      const delay = (error: unknown) => {
        const failed = error instanceof HttpException && error.getStatus() === 500;
        if (!failed) return throwError(() => error);
        report(this.log, requestOf(context), what);
        return Promise.resolve();
      };
      return next.handle().pipe(retry({ count: 1, delay }));
    }
  }
  return mixin(RetryInterceptor);
}

/** Answers 503 to requests for this path while the handler runs, as connect-timeout does. */
export function cutShort(path: string, log: Log) {
  return (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    const { originalUrl = request.url } = request as IncomingMessage & { originalUrl?: string };
    if (originalUrl !== path) return next();
    const timer = setTimeout(() => {
      if (response.writableEnded) return;
      report(log, request, 'middleware timed out');
      response.statusCode = 503;
      response.setHeader('Content-Type', 'application/json');
      response.end('{"message":"timeout"}');
    }, TIMEOUT_MS);
    response.once('close', () => clearTimeout(timer));
    next();
  };
}
