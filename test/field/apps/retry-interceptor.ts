/** An interceptor that retries the handler: the last call decides. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  BadGatewayException,
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { retry, timeout } from 'rxjs';
import { until } from '../../support/until.js';
import { application, Effects, type Exchange } from '../harness.js';
import { TIME_LIMIT_MS } from '../support/late-handler.js';

@Injectable()
class RetryInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(retry(2));
  }
}

/** Its second call runs beside the first: two effects, with and without the decorator, and none by a retry. */
@Injectable()
class ImpatientInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(TIME_LIMIT_MS), retry(1));
  }
}

const exchanges = (path: string): Exchange[] => [
  { name: `${path}, at the third attempt`, request: { path: `/${path}/flaky` }, status: 201 },
  { name: `${path}, in vain`, request: { path: `/${path}/broken` }, status: 502, effects: 0 },
  {
    name: `${path}, two calls at once`,
    request: { path: `/${path}/slow` },
    status: 201,
    concurrent: false,
    check: async (client, { path }) => {
      const request = { path, key: randomUUID() };
      const before = client.begun();
      client.hold();
      const answer = client.send(request);
      await until(() => client.begun() - before === 2);
      client.release();
      assert.equal((await answer).status, 201);
      await until(async () => (await client.effects()).length === 3);
      let retried = await client.send(request);
      await until(async () => retried.status !== 409 || !(retried = await client.send(request)));
      assert.deepEqual([retried.status, client.begun() - before], [201, 2], 'a retry');
    },
  },
];

export default application({
  name: 'a retry interceptor',
  build: ({ Idempotent }) => {
    class Flaky {
      private calls = 0;
      constructor(protected readonly effects: Effects) {}

      protected async pay() {
        if (++this.calls % 3 !== 0) throw new BadGatewayException('flaky');
        return { id: await this.effects.add() };
      }

      protected async add() {
        return { id: await this.effects.add() };
      }

      protected fail(): never {
        throw new BadGatewayException('broken');
      }
    }

    @Controller('outside')
    class OutsideController extends Flaky {
      constructor(effects: Effects) {
        super(effects);
      }

      @Post('flaky')
      @Idempotent()
      @UseInterceptors(RetryInterceptor)
      flaky() {
        return this.pay();
      }

      @Post('broken')
      @Idempotent()
      @UseInterceptors(RetryInterceptor)
      broken() {
        this.fail();
      }

      @Post('slow')
      @Idempotent()
      @UseInterceptors(ImpatientInterceptor)
      slow() {
        return this.add();
      }
    }

    @Controller('inside')
    class InsideController extends Flaky {
      constructor(effects: Effects) {
        super(effects);
      }

      @Post('flaky')
      @UseInterceptors(RetryInterceptor)
      @Idempotent()
      flaky() {
        return this.pay();
      }

      @Post('broken')
      @UseInterceptors(RetryInterceptor)
      @Idempotent()
      broken() {
        this.fail();
      }

      @Post('slow')
      @UseInterceptors(ImpatientInterceptor)
      @Idempotent()
      slow() {
        return this.add();
      }
    }
    return { controllers: [OutsideController, InsideController] };
  },
  exchanges: [...exchanges('outside'), ...exchanges('inside')],
});
