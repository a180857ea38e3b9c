import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import { serviceOn } from '../../../lib/cli/database/connection.js';
import { ScopeDigest } from '../../../lib/edges/caller/caller-digests.js';
import { aClaim, BACKENDS, StoreFixture, COMPLETION, ownership } from '../store/support.js';
import { cliHere, urlOf } from './support.js';

const KEY = randomBytes(32);
const encryption = { keys: { a: KEY }, current: 'a' };
const KEYS_IN_ENV = { IDEMPOTENCY_KEYS: JSON.stringify({ a: KEY.toString('base64') }) };

// Each call is a process of its own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

describe('the command line, for a scope and for a name', () => {
  let fixture: StoreFixture;
  beforeEach(async () => (fixture = await StoreFixture.open(BACKENDS[2])));
  afterEach(() => fixture.close());

  const run = async (args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await cliHere(args, { DATABASE_URL: urlOf(fixture.options), ...env });
    return { code, said: (stdout + stderr).trim() };
  };
  const claimed = async (terms: object) => ownership(await fixture.store().claim(aClaim(terms)));

  test('lists and forgets what is of a scope', async () => {
    const scopeDigest = new ScopeDigest({}).of('7');
    await fixture.store().complete(await claimed({ scopeDigest }), COMPLETION);
    const running = await claimed({ scopeDigest });
    await claimed({ scopeDigest: new ScopeDigest({}).of('8') });
    await claimed({ scopeDigest: new ScopeDigest({ namespace: 'shop' }).of('7') });

    expect((await run(['list', '--scope', '7'])).said.split('\n')).toHaveLength(3);
    expect(JSON.parse((await run(['list', '--scope', '7', '--namespace', 'shop', '--json'])).said)).toHaveLength(1);
    expect(await run(['forget', '--scope', '7'])).toEqual({
      code: 1,
      said: 'Forgotten: 1 record\nRecords of this scope are being executed, or are new: forget it again',
    });
    await fixture.store().complete(running, COMPLETION);
    const again = await run(['forget', '--scope', '7', '--json']);
    expect([again.code, JSON.parse(again.said)]).toEqual([0, { forgotten: 1, complete: true }]);
    expect(await run(['list', '--scope', '7'])).toEqual({ code: 1, said: 'No records found' });
    expect(JSON.parse((await run(['list', '--json'])).said)).toHaveLength(2);
  });

  test('names a record by its namespace', async () => {
    const service = serviceOn(fixture.dataSource, { timeout: '30s', namespace: 'billing' });
    const record = { key: 'k', scope: 'ada', operation: 'charge' };
    await service.run(record, () => 'done');
    const { id } = (await service.find(record))!;
    const named = ['--key', 'k', '--endpoint', 'charge', '--scope', 'ada', '--json'];
    const shown = await run(['show', ...named, '--namespace', 'billing']);
    expect(JSON.parse(shown.said)).toMatchObject({ recordId: id, status: 'done' });
    expect(await run(['show', ...named])).toEqual({ code: 1, said: expect.stringContaining('There is no record') });
    expect(await run(['show', ...named, '--namespace', ''])).toEqual({
      code: 2,
      said: expect.stringContaining('--namespace must be a name that is not empty\n'),
    });
    // A script may have an empty variable.
    for (const other of [
      ['--namespace', 'billing'],
      ['--key', ''],
    ]) {
      expect(await run(['forget', id, ...other])).toEqual({
        code: 2,
        said: expect.stringContaining('Give a record id, or --key with --endpoint, not both\n'),
      });
    }
    expect((await run(['forget', ...named, '--namespace', 'billing'])).code).toBe(0);
    expect(await service.find(record)).toBeNull();
  });

  test('needs the keys where records are encrypted', async () => {
    const service = serviceOn(fixture.dataSource, { timeout: '30s', encryption });
    await service.run({ key: 'k', operation: 'charge', scope: '7' }, () => 1);
    const refused = {
      code: 1,
      said: 'The records are encrypted: give the keys in IDEMPOTENCY_KEYS (and IDEMPOTENCY_CURRENT_KEY)',
    };
    expect(await run(['list', '--scope', '7'])).toEqual(refused);
    expect(await run(['forget', '--scope', '7'])).toEqual(refused);
    expect((await run(['list', '--scope', '7'], KEYS_IN_ENV)).code).toBe(0);
    expect(await run(['forget', '--scope', '7'], KEYS_IN_ENV)).toEqual({ code: 0, said: 'Forgotten: 1 record' });
  });

  test('shows the name and the route', async () => {
    const { recordId } = await claimed({ endpoint: 'orders.pay', route: 'POST /orders/:id/pay' });
    expect((await run(['list', '--endpoint', 'orders.pay'])).said).toContain('orders.pay (POST /orders/:id/pay)');
    expect((await run(['show', recordId])).said).toMatch(/endpoint +orders\.pay\nroute +POST \/orders\/:id\/pay\n/);
    const json = JSON.parse((await run(['show', recordId, '--json'])).said) as object;
    expect(json).toMatchObject({ endpoint: 'orders.pay', route: 'POST /orders/:id/pay' });
  });

  test.each([
    ['list --scope', '', '--scope must not be empty'],
    ['forget --scope', '', '--scope must not be empty'],
    ['list --namespace', 'shop', '--namespace goes with --scope'],
    ['forget --namespace', 'shop', '--namespace goes with --scope'],
    ['forget --scope 7 --namespace', '', '--namespace must be a name that is not empty'],
    ['forget --scope 7 --endpoint', 'POST /pay', 'Give a record id, or --key with --endpoint'],
    ['forget --scope 7 --host', 'a.example', 'Give a record id, or --key with --endpoint'],
    ['list --endpoint', '', '--endpoint must not be empty'],
    ['list --operation', 'charge', 'There is no option --operation'],
    ['forget --scope 7 --status', 'done', 'There is no option --status'],
  ])('refuses %s %j', async (options, last, message) => {
    const { code, said } = await run([...options.split(' '), last]);
    expect({ code, said }).toEqual({ code: 2, said: expect.stringContaining(message) as string });
  });
});
