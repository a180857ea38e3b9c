/** https://docs.nestjs.com/faq/raw-body: a signature over the raw body, and the event's id as the key. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  HttpCode,
  Post,
  type RawBodyRequest,
  UseGuards,
} from '@nestjs/common';
import { application, Effects } from '../harness.js';

interface Event {
  readonly id: string;
  readonly type: string;
}

type Incoming = RawBodyRequest<{ body: Event; headers: Record<string, string> }>;

const sign = (body: string | Buffer) => createHmac('sha256', 'whsec').update(body).digest();

class SignatureGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { rawBody, headers } = context.switchToHttp().getRequest<Incoming>();
    return timingSafeEqual(sign(rawBody!), Buffer.from(headers['x-signature'] ?? '', 'hex'));
  }
}

const body = JSON.stringify({ id: 'evt_1', type: 'charge.succeeded' }, undefined, 1);

export default application({
  name: 'webhooks with a signature',
  options: { rawBody: true },
  build: ({ Idempotent }) => {
    @Controller('webhooks')
    class WebhooksController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @HttpCode(200)
      @UseGuards(SignatureGuard)
      @Idempotent({
        key: (context: ExecutionContext) => context.switchToHttp().getRequest<Incoming>().body.id,
        scope: () => 'provider',
      })
      async receive(@Body() event: Event) {
        return { received: await this.effects.add(event.type) };
      }
    }
    return { controllers: [WebhooksController] };
  },
  exchanges: [
    {
      name: 'charge.succeeded',
      request: {
        path: '/webhooks',
        key: undefined,
        headers: { 'Content-Type': 'application/json', 'X-Signature': sign(body).toString('hex') },
        body,
      },
      status: 200,
      concurrent: false,
    },
  ],
});
