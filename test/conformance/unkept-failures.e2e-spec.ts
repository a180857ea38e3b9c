import { randomUUID } from 'node:crypto';
import {
  ConflictException,
  Controller,
  Header,
  HttpException,
  type NestInterceptor,
  Post,
  Res,
  UnprocessableEntityException,
  UseInterceptors,
} from '@nestjs/common';
import { map } from 'rxjs';
import { Idempotent, IdempotencyService } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, ran } from './support/cases.js';
import { type RawAnswer, send } from './support/raw-http.js';

const refusing: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      map(() => {
        throw new ConflictException('after the handler');
      }),
    ),
};

const FAILED = 'The operation failed, and its response was not kept.';

const detailOf = ({ body }: RawAnswer) => (JSON.parse(body.toString()) as { detail: string }).detail;

@Controller()
class KeysController {
  @Post('secret')
  @Idempotent({ response: { store: false } })
  secret() {
    ran();
    throw new ConflictException('this name is taken');
  }

  @Post('secret-in-transaction')
  @Idempotent({ response: { store: false }, transactional: true })
  inTransaction() {
    ran();
    throw new ConflictException('this name is taken');
  }

  @Post('secret-by-status')
  @Idempotent({ response: { store: false } })
  byStatus(@Res() response: { status(code: number): { send(body: object): void } }) {
    ran();
    response.status(409).send({ taken: true });
  }

  @Post('large')
  @Idempotent({ response: { maxBytes: 100 } })
  large() {
    ran();
    throw new UnprocessableEntityException(Array.from({ length: 50 }, (_, row) => `row ${row} has no price`));
  }

  @Post('text')
  @Header('Content-Type', 'text/plain')
  @Idempotent({ response: { redact: ['/token'] } })
  text(@Res() response: { status(code: number): { send(body: string): void } }) {
    ran();
    response.status(422).send('no such plan');
  }

  @Post('own-outcome')
  @Idempotent({ response: { store: false }, outcome: () => 'store' })
  ownOutcome() {
    ran();
    throw new ConflictException('of the provider');
  }

  @Post('after')
  @Idempotent({ response: { store: false } })
  @UseInterceptors(refusing)
  after() {
    ran();
    return {};
  }

  @Post('done')
  @Idempotent({ response: { store: false } })
  done() {
    ran();
    return { token: randomUUID() };
  }
}

/**
 * There is nothing to replay. "The operation was carried out" would be wrong of one that has failed. To run it again would be wrong as well:
 * a charge that its customer has to confirm answers 402.
 */
describe.each(PLATFORMS)('a failure that is not kept, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [KeysController] });
  });
  afterAll(() => app?.close());

  test.each([
    ['secret', 409],
    ['secret-in-transaction', 409],
    ['secret-by-status', 409],
    ['large', 422],
    ['text', 422],
    ['own-outcome', 409],
  ])('%s: does not run again, and its retry gets that it failed', async (path, status) => {
    const request = { path: `/${path}`, key: randomUUID() };
    const before = countRuns();
    const first = await send(app.port, request);
    const retried = await send(app.port, request);
    expect([first.status, codeOf(first), countRuns() - before]).toEqual([status, undefined, 1]);
    expect([retried.status, codeOf(retried), detailOf(retried)]).toEqual([409, 'replay-unavailable', FAILED]);
  });

  test.each([
    ['after', 'one that was carried out before its interceptor failed'],
    ['done', 'one that succeeded'],
  ])('%s: %s does not run again', async (path) => {
    const request = { path: `/${path}`, key: randomUUID() };
    const before = countRuns();
    await send(app.port, request);
    const retried = await send(app.port, request);
    expect([codeOf(retried), countRuns() - before]).toEqual(['replay-unavailable', 1]);
    expect(detailOf(retried)).toMatch(/^The operation was carried out/);
  });

  test.each([false, true])(
    'of run(): the next call gets that the first one failed (transactional: %s)',
    async (transactional) => {
      const service = app.app.get(IdempotencyService);
      const itself: { self?: object } = {};
      itself.self = itself;
      let runs = 0;
      const run = () =>
        service.run({ key: `declined ${transactional}`, operation: 'charge', transactional }, () => {
          runs++;
          throw new HttpException({ reason: 'declined', request: itself }, 402);
        });
      await expect(run()).rejects.toMatchObject({ status: 402, response: { reason: 'declined' } });
      await expect(run()).rejects.toMatchObject({ code: 'replay-unavailable', message: FAILED });
      expect(runs).toBe(1);
    },
  );
});
