import {
  Body,
  type CallHandler,
  Controller,
  type ExecutionContext,
  Get,
  Injectable,
  Module,
  type NestInterceptor,
  type OnModuleInit,
  Post,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { Idempotent, IdempotencyModule, NotIdempotent } from 'nestjs-idempotency';
import { concatMap } from 'rxjs';

const { DATABASE = '{}', REDIS_PORTS = '', OPTIONS = '{}' } = process.env;
const redis = REDIS_PORTS.split(',')
  .filter(Boolean)
  .map((port) => new Redis(Number(port), '127.0.0.1'));

console.log('printed while it is loaded');

@Controller('payments')
class PaymentsController {
  @Post()
  @Idempotent()
  pay(@Body() payment: object) {
    return payment;
  }

  @Post('refunds')
  refund(@Body() refund: object) {
    return refund;
  }

  @Post('previews')
  @NotIdempotent()
  preview(@Body() payment: object) {
    return payment;
  }

  @Get()
  list() {
    return [];
  }
}

/** Ends the transaction of a request after its handler. */
@Injectable()
class UnitOfWork implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(concatMap((value: unknown) => this.commit().then(() => value)));
  }

  private async commit(): Promise<void> {}
}

/** What an application does once it starts, and not when it is examined. */
@Injectable()
class Consumer implements OnModuleInit {
  onModuleInit(): void {
    console.error('the consumer has started');
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(DATABASE) as TypeOrmModuleOptions),
      autoLoadEntities: true,
      retryDelay: 200,
    }),
    IdempotencyModule.forRoot({ ...(redis.length > 0 && { redis }), ...(JSON.parse(OPTIONS) as object) }),
  ],
  controllers: [PaymentsController],
  providers: [Consumer, { provide: APP_INTERCEPTOR, useClass: UnitOfWork }],
})
export class AppModule {}
