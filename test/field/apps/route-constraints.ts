/** https://docs.nestjs.com/techniques/performance#route-constraints: Fastify chooses the handler by what it derives. */
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { Controller, Post } from '@nestjs/common';
import { FastifyAdapter, RouteConstraints } from '@nestjs/platform-fastify';
import { application, Effects } from '../harness.js';

const brands = {
  name: 'brand',
  mustMatchWhenDerived: false,
  deriveConstraint: ({ headers }: { headers: IncomingHttpHeaders }) => String(headers['x-brand']),
  storage: () => {
    const handlers = new Map<unknown, never>();
    return {
      get: (brand: unknown) => handlers.get(brand) ?? null,
      set: (brand: unknown, handler: never) => void handlers.set(brand, handler),
    };
  },
};

const ofBrand = (brand: string) => ({ path: '/orders', headers: { 'X-Brand': brand } });

export default application({
  name: 'route constraints',
  adapters: ['fastify'],
  build: ({ Idempotent }) => {
    @Controller('orders')
    class OrdersController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @RouteConstraints({ brand: 'acme' })
      @Idempotent()
      async ofAcme() {
        return { acme: await this.effects.add('acme') };
      }

      @Post()
      @RouteConstraints({ brand: 'globex' })
      @Idempotent()
      async ofGlobex() {
        return { globex: await this.effects.add('globex') };
      }
    }
    return {
      controllers: [OrdersController],
      httpAdapter: new FastifyAdapter({ routerOptions: { constraints: { brand: brands } } }),
    };
  },
  exchanges: [
    {
      name: 'acme',
      request: ofBrand('acme'),
      status: 201,
      check: async (client, { key }) => {
        const { status, body } = await client.send({ ...ofBrand('globex'), key });
        assert.equal(status, 422, `another handler with the same key: ${String(body)}`);
      },
    },
    { name: 'globex', request: ofBrand('globex'), status: 201 },
  ],
});
