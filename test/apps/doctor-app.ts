import { Body, Controller, Get, Injectable, Module, type OnModuleInit, Post } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { Idempotent, IdempotencyModule, NotIdempotent } from 'nestjs-idempotency';

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
  providers: [Consumer],
})
export class AppModule {}
