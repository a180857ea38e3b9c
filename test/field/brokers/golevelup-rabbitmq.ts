/**
 * https://golevelup.github.io/nestjs/modules/rabbitmq.html. Its handlers are no handlers of Nest's, which the boot says of
 * `@Idempotent()` on one of them; `IdempotencyService.run()` takes the message's id as the key.
 */
import { AmqpConnection, RabbitMQModule, RabbitRPC, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Body, Controller, Headers, Injectable, Optional, Post } from '@nestjs/common';
import type { ConsumeMessage } from 'amqplib';
import { IdempotencyService } from 'nestjs-idempotency';
import { application, Effects, type Exchange } from '../harness.js';

interface Order {
  readonly sku: string;
}

const exchange = (path: string, notes?: readonly string[]): Exchange => ({
  name: path,
  request: { path, body: { sku: 'chair' } },
  status: 201,
  notes,
  marked: false,
  concurrent: false,
});

export default application({
  name: '@golevelup/nestjs-rabbitmq',
  build: ({ adapter, note }) => {
    const names = { exchange: `shop-${adapter}`, rpc: `rpc-${adapter}`, events: `events-${adapter}` };

    @Injectable()
    class OrdersService {
      constructor(
        private readonly effects: Effects,
        @Optional() private readonly idempotency?: IdempotencyService,
      ) {}

      @RabbitRPC({ exchange: names.exchange, routingKey: 'order.place', queue: names.rpc })
      place(order: Order, message: ConsumeMessage) {
        return this.once('order.place', order, message);
      }

      @RabbitSubscribe({ exchange: names.exchange, routingKey: 'order.placed', queue: names.events })
      async placed(order: Order, message: ConsumeMessage) {
        await this.once('order.placed', order, message);
        note('acknowledged');
      }

      private once(operation: string, input: Order, message: ConsumeMessage) {
        const work = async () => ({ id: await this.effects.add(), sku: input.sku });
        const key = message.properties.messageId as string;
        return this.idempotency ? this.idempotency.run({ key, operation, input }, work) : work();
      }
    }

    @Controller()
    class OrdersController {
      constructor(private readonly amqp: AmqpConnection) {}

      @Post('rpc')
      rpc(@Body() payload: Order, @Headers('idempotency-key') messageId: string) {
        const options = { exchange: names.exchange, routingKey: 'order.place', payload, timeout: 20_000 };
        return this.amqp.request({ ...options, publishOptions: { messageId } });
      }

      @Post('event')
      event(@Body() payload: Order, @Headers('idempotency-key') messageId: string) {
        return this.amqp.publish(names.exchange, 'order.placed', payload, { messageId });
      }
    }
    return {
      imports: [
        RabbitMQModule.forRoot({
          exchanges: [{ name: names.exchange, type: 'topic' }],
          uri: process.env.RABBITMQ_URI!,
          connectionInitOptions: { timeout: 20_000 },
        }),
      ],
      controllers: [OrdersController],
      providers: [OrdersService],
    };
  },
  exchanges: [exchange('/rpc'), exchange('/event', ['acknowledged'])],
});
