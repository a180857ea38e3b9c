import { jest } from '@jest/globals';
import { Controller, Post } from '@nestjs/common';
import { Idempotent, IdempotencyService } from '../../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from '../../conformance/support/app.js';
import { call } from '../../support/http-client.js';

const DAY = 24 * 3_600_000;
let runs = 0;

@Controller('payments')
class PaymentsController {
  @Post()
  @Idempotent()
  pay() {
    return { run: ++runs, at: new Date().toISOString() };
  }
}

/** What `vi.useFakeTimers()` replaces, too. Tests of what happens tomorrow do so, and an application without the library does not mind. */
describe.each(PLATFORMS)('under fake timers, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [PaymentsController] });
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask'], now: new Date('2030-01-01') });
  });
  afterAll(async () => {
    jest.useRealTimers();
    await app?.close();
  });

  test('requests are answered, and a key is still known the next day', async () => {
    // The server closes idle connections by the real clock, also one that the next request is on its way to.
    const pay = (key: string) =>
      call(`http://127.0.0.1:${app.port}/payments`, { key, headers: { connection: 'close' } });
    const first = await pay('k');
    expect(first).toMatchObject({ status: 201, body: expect.stringContaining('2030-01-01') as string });
    // One that is set again every few milliseconds would fire millions of times: this process also ran other spec files.
    jest.clearAllTimers();
    jest.advanceTimersByTime(DAY);
    expect((await pay('k')).body).toBe(first.body);
    expect((await pay('next-day')).body).toContain('2030-01-02');
    const run = app.app.get(IdempotencyService).run({ key: 'job', operation: 'nightly' }, () => 'done');
    await expect(run).resolves.toBe('done');
  });
});
