/** https://docs.nestjs.com/interceptors#exception-mapping, and a filter for the domain's and TypeORM's own errors. */
import {
  type ArgumentsHost,
  BadGatewayException,
  type CallHandler,
  Catch,
  ConflictException,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { InjectRepository } from '@nestjs/typeorm';
import { catchError, throwError } from 'rxjs';
import { QueryFailedError, type Repository } from 'typeorm';
import { application, Effect, Effects } from '../harness.js';

class InsufficientFunds extends Error {}

@Injectable()
class ErrorsInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(catchError(() => throwError(() => new BadGatewayException())));
  }
}

@Catch(InsufficientFunds)
@Injectable()
class InsufficientFundsFilter implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(_exception: InsufficientFunds, host: ArgumentsHost): void {
    const body = { statusCode: 422, message: 'insufficient funds' };
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), body, 422);
  }
}

@Catch(QueryFailedError)
class UniqueViolationFilter extends BaseExceptionFilter {
  override catch(exception: QueryFailedError, host: ArgumentsHost): void {
    const error = exception.message.includes('UNIQUE') ? new ConflictException('taken') : exception;
    // oxlint-disable-next-line promise/valid-params -- no promise
    super.catch(error, host);
  }
}

export default application({
  name: 'error mapping',
  build: ({ Idempotent }) => {
    @Controller('payments')
    class PaymentsController {
      constructor(
        private readonly effects: Effects,
        @InjectRepository(Effect) private readonly rows: Repository<Effect>,
      ) {}

      @Post()
      @Idempotent()
      @UseInterceptors(ErrorsInterceptor)
      async pay() {
        return { id: await this.effects.add() };
      }

      @Post('broken')
      @Idempotent()
      @UseInterceptors(ErrorsInterceptor)
      broken() {
        throw new Error('the provider is down');
      }

      @Post('broken-inside')
      @UseInterceptors(ErrorsInterceptor)
      @Idempotent()
      brokenInside() {
        throw new Error('the provider is down');
      }

      @Post('poor')
      @Idempotent()
      @UseFilters(InsufficientFundsFilter)
      poor() {
        throw new InsufficientFunds();
      }

      @Post('taken')
      @Idempotent()
      async taken() {
        await this.rows.insert({ id: 1, what: 'paid' });
        await this.rows.insert({ id: 1, what: 'paid' });
      }
    }
    return { controllers: [PaymentsController] };
  },
  setup: (app) => app.useGlobalFilters(new UniqueViolationFilter(app.get(HttpAdapterHost).httpAdapter)),
  exchanges: [
    { name: 'pay', request: { path: '/payments' }, status: 201 },
    { name: 'broken', request: { path: '/payments/broken' }, status: 502 },
    { name: 'broken inside', request: { path: '/payments/broken-inside' }, status: 502 },
    { name: 'poor', request: { path: '/payments/poor' }, status: 422 },
    { name: 'taken', request: { path: '/payments/taken' }, status: 409, effects: 1, concurrent: false },
  ],
});
