/** A response mapping interceptor and an exception filter with the time, as https://docs.nestjs.com/exception-filters has it. */
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
  HttpStatus,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { map } from 'rxjs';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

@Injectable()
class TransformInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const { statusCode } = context.switchToHttp().getResponse<{ statusCode: number }>();
    return next.handle().pipe(map((data: unknown) => ({ statusCode, message: 'OK', data })));
  }
}

@Catch()
class AllExceptionsFilter implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const { httpAdapter } = this.host;
    const http = host.switchToHttp();
    const statusCode = exception instanceof HttpException ? exception.getStatus() : HttpStatus.INTERNAL_SERVER_ERROR;
    const path: unknown = httpAdapter.getRequestUrl(http.getRequest());
    httpAdapter.reply(http.getResponse(), { statusCode, timestamp: new Date().toISOString(), path }, statusCode);
  }
}

const comparableBody = (body: string) => body.replace(/"timestamp":"[^"]+"/, '');

export default application({
  name: 'envelopes',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app) => {
    app.useGlobalInterceptors(new TransformInterceptor());
    app.useGlobalFilters(new AllExceptionsFilter(app.get(HttpAdapterHost)));
  },
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201 },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409, comparableBody },
    { name: 'broken', request: { path: '/cats/broken' }, status: 500, effects: 1, comparableBody },
  ],
});
