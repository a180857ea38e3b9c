import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf } from './support/cases.js';
import { send } from './support/raw-http.js';

@Controller()
class PaymentsController {
  runs = 0;

  @Post('payments')
  @Idempotent({ afterCrash: 'hold' })
  pay(@Body() body: { amount: number }) {
    return { ...body, run: ++this.runs };
  }

  @Post('waiting')
  @Idempotent({ afterCrash: 'hold', onConflict: 'wait' })
  wait(@Body() body: { amount: number }) {
    return this.pay(body);
  }
}

/**
 * Scope and fingerprint are compared in every state. A held record reveals the most: that a caller's operation was begun, and that
 * its outcome is unknown.
 */
describe.each(PLATFORMS)('a record that is held, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [PaymentsController] });
  });
  afterAll(() => app?.close());

  test.each(['payments', 'waiting'])('is reported to its own caller, and to no other: POST /%s', async (path) => {
    const key = randomUUID();
    const ask = async (caller: string | undefined, amount: number) => {
      const headers: Record<string, string> = caller === undefined ? {} : { Authorization: `Bearer ${caller}` };
      const answer = await send(app.port, { path: `/${path}`, key, headers, body: { amount } });
      return [answer.status, codeOf(answer)];
    };
    expect(await ask('ann', 100)).toEqual([201, undefined]);
    // As the claim leaves it that finds the lease of a dead process run out.
    await app.dataSource.query("UPDATE idempotency_record SET status = 'held' WHERE status = 'done'");

    expect(await ask('ann', 100)).toEqual([409, 'outcome-unknown']);
    expect(await ask('ann', 999)).toEqual([422, 'key-reused']);
    expect(await ask('bob', 100)).toEqual([422, 'key-foreign']);
    expect(await ask(undefined, 100)).toEqual([422, 'key-foreign']);
    // A caller who may not see the record does not learn that the request differs.
    expect(await ask('bob', 999)).toEqual([422, 'key-foreign']);
  });
});
