import {
  All,
  type CanActivate,
  Controller,
  Delete,
  type ExecutionContext,
  Injectable,
  Param,
  Patch,
  Post,
  Put,
  type Type,
  UseGuards,
  VersioningType,
} from '@nestjs/common';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { Idempotent, type IdempotencyModuleOptions, IdempotencyService, NotIdempotent } from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { call } from '../support/http-client.js';
import { type AppSettings, type Platform, PLATFORMS, type RunningApp, startApp } from './support/app.js';

const open: RunningApp[] = [];
let database: TestDatabase;
let ran = 0;

beforeEach(async () => {
  ran = 0;
  database = await createDatabase('better-sqlite3');
});
afterEach(async () => {
  for (const app of open.splice(0)) await app.close();
  await database.drop();
});

async function start(
  platform: Platform,
  controller: Type | Type[],
  configure?: AppSettings['configure'],
  options?: IdempotencyModuleOptions,
) {
  const app = await startApp(platform, { controllers: [controller].flat(), database, configure, options });
  open.push(app);
  const request = async (method: string, path: string, key = 'k', headers = {}) => {
    const answer = await call(`http://127.0.0.1:${app.port}${path}`, { method, key, headers, body: { amount: 5 } });
    const { by } = JSON.parse(answer.body) as { by?: string };
    return { status: answer.status, by, replayed: answer.headers['idempotent-replayed'] === 'true' };
  };
  return { app, request, service: app.app.get(IdempotencyService) };
}

/** A handler of `orders.pay` at its route, as one release after another has it. */
function release(by: string, decorate: MethodDecorator, at = '', version?: string): Type {
  @Controller({ path: at, ...(version !== undefined && { version }) })
  class Release {
    @Idempotent({ operation: 'orders.pay' })
    @decorate
    pay() {
      ran++;
      return { by };
    }
  }
  return Release;
}

describe.each(PLATFORMS)('An operation with a name, on %s', (platform) => {
  test('is one operation, whatever becomes of its route', async () => {
    const other = platform === 'express' ? 'fastify' : 'express';
    const prefixed: AppSettings['configure'] = (app) => void app.setGlobalPrefix('api');
    const versioned: AppSettings['configure'] = (app) => void app.enableVersioning({ type: VersioningType.URI });
    const releases = [
      [platform, release('a', Post('orders/:id/pay')), undefined, 'POST', '/orders/7/pay'],
      [platform, release('b', Post('orders/:orderId/pay')), undefined, 'POST', '/orders/7/pay'],
      [platform, release('c', Post(['orders/:id/pay', 'orders/:id/charge'])), undefined, 'POST', '/orders/7/charge'],
      [platform, release('d', Post('pay/:order'), 'orders'), prefixed, 'POST', '/api/orders/pay/7'],
      [platform, release('e', Post(':id/pay'), 'orders', '2'), versioned, 'POST', '/v2/orders/7/pay'],
      [platform, release('f', Put('orders/:id/payment')), undefined, 'PUT', '/orders/7/payment'],
      [other, release('g', Post('orders/:no/pay')), undefined, 'POST', '/orders/7/pay'],
    ] as const;
    // All of them run side by side, as during a rolling deploy.
    for (const [i, [on, controller, configure, method, path]] of releases.entries()) {
      const { request } = await start(on, controller, configure);
      expect(await request(method, path)).toEqual({ status: 201, by: 'a', replayed: i > 0 });
    }
    expect(ran).toBe(1);
  });

  test('distinguishes its requests by the values of their parameters, and by their order', async () => {
    @Controller()
    class Transfers {
      @Idempotent({ operation: 'transfer' })
      @Put('transfers/:from/:to')
      move(@Param('from') from: string, @Param('to') to: string) {
        ran++;
        return { by: from + to };
      }
    }
    const { request } = await start(platform, Transfers);
    expect(await request('PUT', '/transfers/1/2')).toMatchObject({ status: 200, by: '12' });
    for (const path of ['/transfers/2/1', '/transfers/1/3', '/transfers/1/2?dry=1']) {
      expect(await request('PUT', path)).toMatchObject({ status: 422 });
    }
    expect(await request('PUT', '/transfers/1/2')).toMatchObject({ by: '12', replayed: true });
    expect(ran).toBe(1);
  });

  test('distinguishes the methods of @All()', async () => {
    const { request } = await start(platform, release('all', All('orders/:id')));
    expect(await request('POST', '/orders/7')).toMatchObject({ by: 'all' });
    expect(await request('DELETE', '/orders/7')).toMatchObject({ status: 422 });
    expect(ran).toBe(1);
  });

  test('may be that of two handlers that both say so', async () => {
    @Controller()
    class Both {
      @Idempotent({ operation: 'orders.pay', shared: true })
      @Post('v1/orders/:id')
      first() {
        ran++;
        return { by: 'first' };
      }
      @Idempotent({ operation: 'orders.pay', shared: true })
      @Patch('v2/orders/:orderId')
      second() {
        ran++;
        return { by: 'second' };
      }
    }
    const { request } = await start(platform, Both);
    expect(await request('POST', '/v1/orders/7')).toMatchObject({ by: 'first', replayed: false });
    expect(await request('PATCH', '/v2/orders/7')).toMatchObject({ by: 'first', replayed: true });
    expect(await request('PATCH', '/v2/orders/8')).toMatchObject({ status: 422 });
    expect(ran).toBe(1);
  });

  test('may be named after the route that it has had, and answers its keys', async () => {
    @Controller()
    class Before {
      @Idempotent()
      @Post('pay')
      pay() {
        ran++;
        return { by: 'before' };
      }
    }
    @Controller()
    class After {
      @Idempotent({ operation: 'POST /pay' })
      @Post('payments')
      pay() {
        ran++;
        return { by: 'after' };
      }
    }
    const before = await start(platform, Before);
    expect(await before.request('POST', '/pay')).toMatchObject({ by: 'before', replayed: false });
    const after = await start(platform, After);
    expect(await after.request('POST', '/payments')).toMatchObject({ by: 'before', replayed: true });
    expect(ran).toBe(1);
  });

  test('is what records, events and logs call it, and the record keeps the route', async () => {
    const { request, service } = await start(platform, [release('a', Post('orders/:id/pay'))]);
    const endpoints: string[] = [];
    service.events$.subscribe((event) => void endpoints.push(event.endpoint));
    await request('POST', '/orders/7/pay');
    expect(new Set(endpoints)).toEqual(new Set(['orders.pay']));
    const record = await service.find({ key: 'k', operation: 'orders.pay' });
    expect(record).toMatchObject({ endpoint: 'orders.pay', route: 'POST /orders/:id/pay', status: 'done' });
    expect(await service.list({ operation: 'orders.pay' })).toEqual([record]);
    expect(service.policy().operations).toEqual([expect.objectContaining({ operation: 'orders.pay' })]);
  });
});

describe('Two handlers with one name', () => {
  @Controller('one')
  class One {
    @Idempotent({ operation: 'orders.pay' })
    @Post()
    pay() {
      throw new Error('not called');
    }
  }
  @Controller('two')
  class Two {
    @Idempotent({ operation: 'orders.pay', shared: true })
    @Delete()
    pay() {
      throw new Error('not called');
    }
  }
  @Controller('three')
  class Three extends Two {}
  @Controller('four')
  class Four extends Two {
    @NotIdempotent()
    override pay(): never {
      throw new Error('not called');
    }
  }
  @Controller()
  class Listener {
    @Idempotent({ operation: 'orders.pay', shared: true })
    @MessagePattern('orders.pay')
    pay() {}
  }
  @Controller()
  class Hybrid {
    @Idempotent({ operation: 'orders.pay' })
    @Post()
    @EventPattern<string>('orders.pay')
    pay() {}
  }
  @Controller('inherits')
  class Inherits extends One {}

  test.each([
    ['without `shared`', [One, Inherits], /"orders\.pay".*One\.pay and Inherits\.pay.*`shared: true`/],
    ['with `shared` at one of them', [One, Two], /"orders\.pay".*One\.pay and Two\.pay.*`shared: true`/],
    ['of which one is no HTTP', [Two, Listener], /Two\.pay and Listener\.pay.*over HTTP \(Two\.pay\)/],
    ['that are one method', [Hybrid], /Hybrid\.pay and Hybrid\.pay.*over HTTP/],
  ])('fail the boot %s', async (_, controllers, message) => {
    await expect(start('express', controllers)).rejects.toThrow(message);
    expect(open).toHaveLength(0);
    // The database went with the failed start.
    database = await createDatabase('better-sqlite3');
  });

  test('boot with `shared` at both, and where one of them is exempt', async () => {
    await start('express', [Two, Three, Four]);
    await start('express', [One, Four]);
  });

  test('are listed by their name in the boot audit', async () => {
    const { app } = await start('express', [release('a', Post())], undefined, { audit: 'warn', lease: 10 });
    expect(app.log.toString()).toContain('Release.pay (orders.pay)');
  });
});

@Injectable()
class ByHeader implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: object }>();
    request.user = { id: request.headers['x-user'] };
    return true;
  }
}

describe.each(PLATFORMS)('What is kept of one person, on %s', (platform) => {
  test('is found and erased by the id', async () => {
    @UseGuards(ByHeader)
    @Controller()
    class Payments {
      @Idempotent()
      @Post('pay')
      pay() {
        return { by: String(++ran) };
      }
    }
    const { request, service } = await start(platform, Payments);
    for (const [user, key] of [
      ['7', 'a'],
      ['7', 'b'],
      ['8', 'c'],
    ]) {
      await request('POST', '/pay', key, { 'x-user': user });
    }
    expect(await service.list({ scope: '7' })).toHaveLength(2);
    expect(await service.list({ scope: '7', operation: 'POST /pay', status: 'done' })).toHaveLength(2);
    expect(await service.list({ scope: '7', operation: 'POST /elsewhere' })).toEqual([]);
    expect(await service.forget({ scope: '7' })).toBe(2);
    expect(await service.forget({ scope: '7' })).toBe(0);
    expect(await service.list()).toHaveLength(1);
    expect(await request('POST', '/pay', 'c', { 'x-user': '8' })).toMatchObject({ by: '3', replayed: true });
    expect(await request('POST', '/pay', 'a', { 'x-user': '7' })).toMatchObject({ by: '4', replayed: false });
  });
});
