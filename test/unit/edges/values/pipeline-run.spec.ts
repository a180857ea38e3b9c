import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { BadRequestException, Logger, ServiceUnavailableException } from '@nestjs/common';
import { defer, map, of, type Observable, Observable as Stream, Subscription, throwError } from 'rxjs';
import { current } from '../../../../lib/engine/current-execution.js';
import { Execution } from '../../../../lib/engine/execution.js';
import { HandlerCalls } from '../../../../lib/engine/handler-calls.js';
import type { LeasedExecution } from '../../../../lib/engine/leased-execution.js';
import type { HandlerResult } from '../../../../lib/engine/recorder.js';
import { resolveOperationOptions } from '../../../../lib/options/resolve-options.js';
import { OpenTransactions } from '../../../../lib/edges/values/open-transactions.js';
import { PipelineRun } from '../../../../lib/edges/values/pipeline-run.js';

const options = resolveOperationOptions({});
const operation = { key: 'k', recordId: 'r', endpoint: 'RPC pay', policy: options.policy } as never;

/** A run of a handler, and what comes of it. */
class Fixture {
  result: HandlerResult | undefined;
  calls = 0;
  answer: unknown;
  error: unknown;
  subscription!: Subscription;
  /** Resolves when the transaction of the operation begins. */
  begins: Promise<unknown> = Promise.resolve();
  readonly handlerCalls = new HandlerCalls();

  /** @param pipeline what Nest and inner interceptors make of the handler */
  async run(
    value: unknown,
    pipeline: (handler: () => Promise<unknown>) => Observable<unknown> = defer,
    serialize?: (value: unknown) => unknown,
  ): Promise<void> {
    const execution = new Execution(operation, { attempt: 1, token: 1 }, this.handlerCalls, undefined);
    const leased = {
      execution,
      operation,
      runToEnd: async (body: () => Promise<HandlerResult>) => {
        await this.begins;
        this.result = await body();
        return { kind: this.result.kind === 'store' ? 'stored' : 'freed' };
      },
    } as unknown as LeasedExecution;
    const handler = async () =>
      current()!.call(() => {
        this.calls++;
        return value;
      });
    const errors = { isRetryable: () => false, explain: String };
    const settings = { endpoint: 'RPC pay', options, documentation: undefined, errors, handler, watched: true };
    let ended!: Promise<void>;
    const values = new Stream<unknown>((subscriber) => {
      const run = new PipelineRun(leased, settings, subscriber, new OpenTransactions('interceptor'), serialize);
      ended = run.run(() => pipeline(handler));
    });
    this.subscription = values.subscribe({
      next: (one) => (this.answer = one),
      error: (error: unknown) => (this.error = error),
    });
    await ended;
  }
}

const unreadable = () => ({
  id: 1,
  get total(): number {
    throw new Error('no rate');
  },
});

let logged: { mockRestore(): void };
beforeEach(() => (logged = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => undefined)));
afterEach(() => logged.mockRestore());

const TOMBSTONE = { kind: 'store', failed: false, outcome: { code: 0 } };

describe('a value that cannot be read', () => {
  // What reading it threw was an unhandled rejection: the process ended, or the key was never free again.
  test('is answered all the same, where what is kept of it cannot be made', async () => {
    const one = new Fixture();
    const value = unreadable();
    await one.run(value, undefined, (kept) => Object.values(kept as object));
    expect(one.result).toMatchObject(TOMBSTONE);
    expect(one.answer).toBe(value);
  });

  test('and that an inner interceptor fails to read: the operation is carried out', async () => {
    const one = new Fixture();
    await one.run(unreadable(), (handler) => defer(handler).pipe(map((value) => ({ ...(value as object) }))));
    expect(one.result).toMatchObject(TOMBSTONE);
    expect(one.error).toEqual(new Error('no rate'));
  });

  test('whose toJSON() throws no error', async () => {
    const one = new Fixture();
    const value = {
      toJSON() {
        // oxlint-disable-next-line typescript/only-throw-error -- as code does that is compiled from other languages
        throw undefined;
      },
    };
    await one.run(value);
    expect(one.result).toMatchObject(TOMBSTONE);
    expect(one.answer).toBe(value);
  });
});

describe('a request that a pipe refuses', () => {
  test.each([
    ['for good', new BadRequestException(), true],
    ['for now', new ServiceUnavailableException(), false],
  ])('%s leaves no trace', async (_, error, refused) => {
    const one = new Fixture();
    await one.run('paid', () => throwError(() => error));
    expect([one.result, one.calls]).toEqual([{ kind: 'discard', refused }, 0]);
  });
});

describe('a request that an outer interceptor has given up on', () => {
  test('while its transaction waits for a connection: the handler does not begin', async () => {
    const one = new Fixture();
    let begin!: (value?: unknown) => void;
    one.begins = new Promise((resolve) => (begin = resolve));
    const run = one.run('paid');
    one.subscription.unsubscribe();
    begin();
    await run;
    expect([one.result?.kind, one.calls, one.handlerCalls.state]).toEqual(['discard', 0, 'closed']);
  });

  test('while its pipes run: the handler does not begin', async () => {
    const one = new Fixture();
    let pass!: (value?: unknown) => void;
    const piped = new Promise((resolve) => (pass = resolve));
    let late: Promise<unknown> | undefined;
    const run = one.run('paid', (handler) => defer(() => (late = piped.then(handler))));
    await sleep(1);
    one.subscription.unsubscribe();
    await run;
    expect([one.result?.kind, one.handlerCalls.state]).toEqual(['discard', 'closed']);
    pass();
    await expect(late).rejects.toThrow('before its handler began');
    expect(one.calls).toBe(0);
  });

  test('while the handler runs: it is followed to its end', async () => {
    const one = new Fixture();
    let end!: (value: unknown) => void;
    const run = one.run(new Promise((resolve) => (end = resolve)));
    await sleep(1);
    one.subscription.unsubscribe();
    end('paid');
    await run;
    expect(one.result).toMatchObject({ kind: 'store', outcome: { code: 1 } });
  });
});

// Nest waits for such a promise. It was an outcome before: of a handler that failed, a retry heard that it was carried out.
describe('an interceptor that emits the promise of its work', () => {
  const promising = (handler: () => Promise<unknown>) => of(handler());
  const promisingLater = (handler: () => Promise<unknown>) => of(sleep(1).then(handler));

  test.each([
    ['at once', promising],
    ['after its BEGIN', promisingLater],
  ])('%s: its value is the answer', async (_when, pipeline) => {
    const one = new Fixture();
    await one.run('paid', pipeline);
    expect(one.result).toMatchObject({ kind: 'store', outcome: { code: 1, body: Buffer.from('"paid"') } });
    expect(one.answer).toBe('paid');
  });

  test.each([
    ['at once', promising],
    ['after its BEGIN', promisingLater],
  ])('%s: what it is rejected with frees the key', async (_when, pipeline) => {
    const one = new Fixture();
    const failure = Promise.reject(new Error('deadlock'));
    failure.catch(() => undefined);
    await one.run(failure, pipeline);
    expect([one.result?.kind, one.error, one.calls]).toEqual(['release', new Error('deadlock'), 1]);
  });
});
