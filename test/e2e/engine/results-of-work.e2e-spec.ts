import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { Nack } from '@golevelup/nestjs-rabbitmq';
import { Controller, Post } from '@nestjs/common';
import { defer, EMPTY, lastValueFrom, of } from 'rxjs';
import { type Execution, IdempotencyService, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { type RunningApp, startApp } from '../../conformance/support/app.js';
import { codeOf } from '../../conformance/support/cases.js';
import { send } from '../../conformance/support/raw-http.js';

type Handler = (execution: Execution) => unknown;

/** What the handler of the next requests does. */
let handler: Handler = () => undefined;

@Controller()
class OrdersController {
  @Idempotent()
  @Post('orders')
  order(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }
}

/** Work that counts when it is done, as a request of @nestjs/axios is sent when its Observable is subscribed to. */
class Provider {
  charges = 0;
  readonly charge = () => defer(() => of({ charge: ++this.charges }));
}

let app: RunningApp;
let service: IdempotencyService;
let provider: Provider;

beforeAll(async () => {
  app = await startApp('express', { controllers: [OrdersController] });
  service = app.app.get(IdempotencyService);
});
afterAll(() => app?.close());
beforeEach(() => (provider = new Provider()));

const logged = (text: string) => app.log.lines.filter((line) => line.includes(text)).length;

describe('a Nack', () => {
  it('of the handler of run() is refused: its replay would acknowledge the message', async () => {
    let isThere = false;
    const run = () =>
      service.run({ key: 'nack', operation: 'reserve' }, () => (isThere ? { requeue: true } : new Nack(true)));
    await expect(run()).rejects.toThrow(
      'run() of reserve: its handler returned a Nack, and its message is not handled. Throw instead, and return the Nack behind run()',
    );
    isThere = true;
    expect(await run()).toEqual({ requeue: true });
  });
});

describe('an Observable', () => {
  it.each<[string, () => unknown]>([
    ['returned', () => provider.charge()],
    ['promised', async () => provider.charge()],
  ])('%s by the handler of run() is refused, and its key is free', async (how, work) => {
    let isMended = false;
    const mended = () => lastValueFrom(provider.charge());
    const run = () => service.run({ key: how, operation: 'charge' }, () => (isMended ? mended() : work()));
    await expect(run()).rejects.toThrow(
      'run() of charge: its handler returned an Observable, whose work has not begun. Return its promise: lastValueFrom(observable)',
    );
    isMended = true;
    expect([await run(), await run(), provider.charges]).toEqual([{ charge: 1 }, { charge: 1 }, 1]);
  });

  it('of a step is refused, and its record does not say that it is done', async () => {
    const request = { path: '/orders', key: randomUUID() };
    handler = (execution) =>
      execution.step<unknown>('charge', () =>
        execution.attempt === 1 ? provider.charge() : lastValueFrom(provider.charge()),
      );
    expect((await send(app.port, request)).status).toBe(500);
    expect(logged('Step "charge" returned an Observable')).toBe(1);
    expect((await send(app.port, request)).body.toString()).toBe('{"charge":1}');
  });

  it('of verify is refused, and does not say that the step happened', async () => {
    const request = { path: '/orders', key: randomUUID() };
    const verify = () => EMPTY as unknown as undefined;
    handler = (execution) =>
      execution.step(
        'charge',
        () => {
          if (execution.attempt === 1) throw new Error('the provider is down');
          return lastValueFrom(provider.charge());
        },
        execution.attempt === 3 ? {} : { verify },
      );
    for (let n = 0; n < 2; n++) expect((await send(app.port, request)).status).toBe(500);
    expect(logged('verify of step "charge" returned an Observable')).toBe(1);
    expect((await send(app.port, request)).body.toString()).toBe('{"charge":1}');
  });
});

/** What JSON writes as `{}`, and is not empty. */
const HOLLOW: readonly [string, () => unknown][] = [
  ['the response of fetch()', () => Response.json({ paid: true })],
  ['one among other members', () => ({ response: Response.json({ paid: true }) })],
  ['a file', () => new Blob(['receipt'])],
  ['a form', () => new FormData()],
  ['a web stream', () => new ReadableStream()],
  ['a generator', () => (async function* () {})()],
  ['the response of axios', () => ({ data: { paid: true }, request: Readable.from([]) })],
  ['a WeakMap', () => new WeakMap()],
];

describe.each(HOLLOW)('%s, which JSON cannot carry', (_name, make) => {
  it('is the result of run() once, and no retry gets an empty object instead', async () => {
    const lines = logged('charge: the answer cannot be kept');
    const value = make();
    const run = () => service.run({ key: _name, operation: 'charge' }, () => value);
    expect(await run()).toBe(value);
    await expect(run()).rejects.toMatchObject({ code: 'replay-unavailable' });
    expect(logged('charge: the answer cannot be kept')).toBe(lines + 1);
  });

  it('is the result of a step on the attempt that made it, which the log says, and a later one is held', async () => {
    const request = { path: '/orders', key: randomUUID() };
    const lines = logged(': the result of step "charge" of record ');
    const value = make();
    const results: unknown[] = [];
    handler = async (execution) => {
      results.push(await execution.step('charge', () => value));
      throw new Error('out of stock');
    };
    expect((await send(app.port, request)).status).toBe(500);
    expect(logged(': the result of step "charge" of record ')).toBe(lines + 1);
    expect(codeOf(await send(app.port, request))).toBe('outcome-unknown');
    expect(results[0] === value && results.length === 1).toBe(true);
  });
});

it.each([
  ['an empty object of a class', new (class Empty {})(), {}],
  ['an error', { status: 'rejected', reason: new Error('x') }, { status: 'rejected', reason: new Error('x') }],
  ['a promise, as an entity has for a lazy relation', { id: 1, items: Promise.resolve([]) }, { id: 1, items: {} }],
  ['a URL, by its toJSON()', new URL('http://localhost/a'), 'http://localhost/a'],
  ['a boxed number', Object(7), 7],
  ['what has no prototype', Object.assign(Object.create(null) as object, { a: 1 }), { a: 1 }],
])('%s is kept', async (name, value, kept) => {
  const run = () => service.run({ key: name, operation: 'value' }, () => value as unknown);
  await run();
  expect(await run()).toEqual(kept);
});
