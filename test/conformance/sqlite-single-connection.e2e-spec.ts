import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { type IdempotencyEvent, IdempotencyService } from '../../lib/index.js';
import { until } from '../support/until.js';
import { type RunningApp, startApp } from './support/app.js';

let app: RunningApp;
let service: IdempotencyService;
let dataSource: DataSource;
const events: IdempotencyEvent[] = [];

beforeAll(async () => {
  app = await startApp('express', { options: { storeTimeout: '500ms' } });
  ({ dataSource } = app);
  service = app.app.get(IdempotencyService);
  service.events$.subscribe((event) => events.push(event));
});
afterAll(() => app?.close());

const operation = (name: string) => ({ key: randomUUID(), operation: name });

describe('what would wait for itself on SQLite’s only connection', () => {
  const within = {
    "the application's own transaction": (work: () => Promise<unknown>) => dataSource.transaction(work),
    'a transactional operation': (work: () => Promise<unknown>) =>
      service.run({ ...operation('outer'), transactional: true }, work),
  };
  const calls = {
    'another operation': () => service.run(operation('inner'), () => 1),
    'another transactional operation': () => service.run({ ...operation('inner'), transactional: true }, () => 1),
    'forget()': () => service.forget(randomUUID()),
    'resolve()': () => service.resolve(randomUUID(), 'release'),
    'purgeExpired()': () => service.purgeExpired(),
  };
  const cases = Object.entries(within).flatMap(([outer, run]) =>
    Object.entries(calls).map(([inner, call]) => ({ outer, run, inner, call })),
  );

  it.each(cases)('$inner inside $outer is an error at once', async ({ run, call }) => {
    await expect(run(call)).rejects.toMatchObject({
      name: 'NestedOperationError',
      message: expect.stringContaining('SQLite has one connection'),
    });
    // And everybody else goes on.
    expect(await service.run(operation('after'), () => 'done')).toBe('done');
  });

  it('a step of a plain operation inside a transaction is one, too', async () => {
    const stepping = service.run(operation('plain'), (execution) =>
      dataSource.transaction(() => execution.step('charge', () => 1)),
    );
    await expect(stepping).rejects.toMatchObject({ name: 'NestedOperationError' });
  });

  it('reading is none, nor is what comes after the transaction', async () => {
    const found = await service.run({ ...operation('reads'), transactional: true }, () => service.find(randomUUID()));
    expect(found).toBeNull();
    const later = await dataSource.transaction(async () => () => service.run(operation('later'), () => 'later'));
    expect(await later()).toBe('later');
  });
});

it('an execution does not lose its lease to a transaction that holds the only connection', async () => {
  events.length = 0;
  let release!: () => void;
  const held = new Promise<void>((resolve) => (release = resolve));
  const signals: AbortSignal[] = [];
  const others = ['plain', 'stepping'].map((name) =>
    service.run({ ...operation(name), lease: '300ms' }, async (execution) => {
      signals.push(execution.signal);
      await held;
      return name === 'plain' ? name : execution.step('one', () => name);
    }),
  );
  await until(() => signals.length === 2);
  const long = service.run({ ...operation('long'), transactional: true, lease: '300ms' }, async (execution) => {
    signals.push(execution.signal);
    await sleep(1_000);
    release();
    // Longer than storeTimeout: the others want to be recorded meanwhile.
    await sleep(1_000);
    return 'long';
  });
  expect(await Promise.all([...others, long])).toEqual(['plain', 'stepping', 'long']);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, false, false]);
  expect(events.filter(({ type }) => type === 'leaseLost' || type === 'unrecorded')).toEqual([]);
});
