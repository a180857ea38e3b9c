import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { jest } from '@jest/globals';
import { HttpException, Logger } from '@nestjs/common';
import { concat, defer, type Observable, Subject, Subscriber } from 'rxjs';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import type { HttpOperation } from '../../../../lib/edges/http/http-operations.js';
import { HttpRun } from '../../../../lib/edges/http/http-run.js';
import { runOf } from '../../../../lib/edges/http/response-interceptor.js';
import { STORE_WITHOUT_RESPONSE } from '../../../../lib/edges/shared/run-end.js';
import { current } from '../../../../lib/engine/current-execution.js';
import { HandlerCalls, TooLateError } from '../../../../lib/engine/handler-calls.js';
import type { LeasedExecution, Runner } from '../../../../lib/engine/leased-execution.js';
import type { HandlerResult, RecordingResult } from '../../../../lib/engine/recorder.js';
import { OUTCOME_PRESETS } from '../../../../lib/options/outcome-presets.js';
import { responses } from './support.js';

const { ask, answerTo } = responses();

interface Scenario {
  /** What a call of the handler does. */
  readonly handler?: (response: ServerResponse) => unknown;
  readonly native?: boolean;
  readonly transactional?: boolean;
  readonly watched?: boolean;
  readonly stream?: boolean;
  readonly leaseMs?: number;
  /** How the store records the result. */
  readonly recorded?: RecordingResult;
  /** The inner interceptors. */
  readonly inner?: (source: Observable<unknown>) => Observable<unknown>;
}

/** A run of a request, with an engine that records what the test says. */
class Run {
  readonly results: HandlerResult[] = [];
  readonly filtered: unknown[] = [];
  readonly seen: unknown[] = [];
  readonly undecided: string[] = [];
  readonly calls = new HandlerCalls();
  restarts = 0;
  readonly http: HttpRun;
  readonly next: { handle: () => Observable<unknown> };

  constructor(
    readonly response: ServerResponse,
    private readonly scenario: Scenario,
  ) {
    const { native = false, transactional = false, watched = true, stream, leaseMs = 60_000 } = scenario;
    const leased = {
      operation: { recordId: 'the-record' },
      execution: { calls: this.calls, beginCall: () => {}, setRetention: () => {}, isLost: false },
      run: (runner: Runner) => runner.begin(),
      end: (result: HandlerResult) => {
        this.results.push(result);
        queueMicrotask(() => this.http.onRecorded(scenario.recorded ?? { kind: 'stored' }));
      },
      restartTransaction: async () => {
        this.restarts++;
        return (work: () => unknown) => work();
      },
    };
    const exchange = {
      rawResponse: response,
      rawRequest: response.req,
      request: {},
      get status() {
        return response.statusCode;
      },
      headers: () => ({ ...response.getHeaders() }),
      resetHeaders: () => {
        for (const name of response.getHeaderNames()) response.removeHeader(name);
      },
      reopen: () => (response.statusCode = 200),
      suppressFrameworkReply: () => {},
      watchNativeReply: () => {},
    };
    const operation = {
      endpoint: 'POST /a',
      template: 'POST /a',
      native,
      watched,
      handler: this,
      computedHeaders: [],
      errors: { isRetryable: () => false, explain: String },
      options: {
        outcome: OUTCOME_PRESETS.final,
        policy: { transactional, leaseMs },
        response: { store: true, maxBytes: 16, stream, redact: [], include: undefined, exclude: new Set() },
      },
    };
    const host = {
      filters: { handle: (error: unknown) => (this.filtered.push(error), response.end('filtered')) },
      undecidedStreams: { warn: (endpoint: string) => this.undecided.push(endpoint) },
    };
    this.http = new HttpRun(
      host as never,
      leased as unknown as LeasedExecution,
      {} as never,
      exchange as unknown as Exchange,
      operation as unknown as HttpOperation,
    );
    const { handler = () => 'value', inner = (source) => source } = scenario;
    this.next = { handle: () => inner(defer(async () => current()!.call(() => handler(response)))) };
  }

  /** Subscribes as the outermost interceptor, behind which the framework writes. */
  start(writes = true): Subscriber<unknown> {
    const subscriber = this.subscriber(writes);
    this.http.start(this.next, subscriber);
    return subscriber;
  }

  /** Subscribes again, as an outer interceptor that retries. */
  again(writes = true): void {
    this.http.runAgain(this.next, this.subscriber(writes));
  }

  private subscriber(writes: boolean): Subscriber<unknown> {
    const { response, seen } = this;
    const write = (status: number, body: string) => {
      if (!writes || response.headersSent || this.scenario.native) return;
      response.statusCode = status;
      response.end(body);
    };
    return new Subscriber<unknown>({
      next: (value: unknown) => seen.push(value),
      error: (error: unknown) => {
        seen.push(error);
        write(error instanceof HttpException ? error.getStatus() : 500, (error as Error).message);
      },
      complete: () => write(201, String(seen.at(-1))),
    });
  }
}

let lines: string[];
beforeEach(() => {
  lines = [];
  jest.spyOn(Logger.prototype, 'error').mockImplementation((line: unknown) => void lines.push(String(line)));
});
afterEach(() => void jest.restoreAllMocks());

/** What a client gets of a run, and what became of the run. */
async function outcomeOf(scenario: Scenario, drive: (run: Run) => unknown = (run) => run.start()) {
  let run!: Run;
  const { status, body } = await answerTo((response) => {
    run = new Run(response, scenario);
    return drive(run);
  });
  return { status, body, run, results: run.results };
}

/** A run whose client has gone before `drive`. */
async function leftRun(scenario: Scenario, drive: (run: Run) => unknown = (run) => run.start()): Promise<Run> {
  const run = await new Promise<Run>((resolve, reject) => {
    const asked = ask((response) => {
      response.once('close', () => {
        const left = new Run(response, scenario);
        Promise.resolve(drive(left)).then(() => resolve(left), reject);
      });
      asked.destroy();
    });
    asked.on('error', () => {});
  });
  return run;
}

const ended = async (run: Run): Promise<HandlerResult> => {
  while (run.results.length === 0) await new Promise(setImmediate);
  return run.results[0];
};

const gate = () => {
  let open!: (value?: unknown) => void;
  const opened = new Promise((resolve) => (open = resolve));
  return { open, opened };
};

const stored = (code: number) => ({ kind: 'store', outcome: { code } });

describe('a run', () => {
  test('records what the framework writes, and sends it then', async () => {
    const { status, body, results, run } = await outcomeOf({});
    expect({ status, body }).toEqual({ status: 201, body: 'value' });
    expect(results).toMatchObject([stored(201)]);
    expect(run.seen).toEqual(['value']);
    expect(runOf(run.response)).toBe(run.http);
  });

  test('records the refusal of a handler', async () => {
    const declined = new HttpException('declined', 402);
    const { status, results } = await outcomeOf({ handler: () => Promise.reject(declined) });
    expect(status).toBe(402);
    expect(results).toMatchObject([{ ...stored(402), failed: true }]);
  });

  test('frees the key after a failure', async () => {
    const { status, results } = await outcomeOf({ handler: () => Promise.reject(new Error('broken')) });
    expect({ status, results }).toEqual({ status: 500, results: [{ kind: 'release' }] });
  });

  test('is over unanswered by none, and open to no further pass', async () => {
    const { run } = await outcomeOf({});
    expect([run.http.isOverUnanswered, run.http.isWithin]).toEqual([false, false]);
    run.again();
    expect(run.seen.at(-1)).toBeInstanceOf(TooLateError);
  });

  test('that was unsubscribed from before it began leaves no trace', async () => {
    const { results, run } = await outcomeOf({}, (run) => {
      const gone = new Subscriber<unknown>();
      gone.unsubscribe();
      run.http.start(run.next, gone);
      run.response.end();
    });
    expect(results).toEqual([{ kind: 'discard' }]);
    expect(run.calls.state).toBe('closed');
  });
});

describe('an outer interceptor that retries', () => {
  const failOnce = () => {
    let calls = 0;
    return async () => {
      if (++calls === 1) throw new Error('first');
      return `call ${calls}`;
    };
  };

  test.each([true, false])('gets another pass of the same run: watched %s', async (watched) => {
    const { body, results, run } = await outcomeOf({ handler: failOnce(), watched }, async (run) => {
      run.start(false);
      while (run.seen.length === 0) await new Promise(setImmediate);
      run.again();
    });
    expect(body).toBe('call 2');
    expect(results).toMatchObject([stored(201)]);
    expect([run.restarts, (run.seen[0] as Error).message]).toEqual([0, 'first']);
  });

  test('gets another transaction, where the handler is not watched', async () => {
    const scenario = { handler: failOnce(), watched: false, transactional: true };
    const { body, run } = await outcomeOf(scenario, async (run) => {
      run.start(false);
      while (run.seen.length === 0) await new Promise(setImmediate);
      run.again();
    });
    expect([body, run.restarts]).toEqual(['call 2', 1]);
  });
});

describe('a response that is not the operation’s', () => {
  test('is sent at once, and the operation is recorded without it', async () => {
    const { open, opened } = gate();
    const { status, body, run } = await outcomeOf({ handler: () => opened }, (run) => {
      run.start(false);
      run.response.statusCode = 503;
      run.response.end('timeout');
    });
    expect({ status, body, results: run.results }).toEqual({ status: 503, body: 'timeout', results: [] });
    expect(run.http.isOverUnanswered).toBe(false);
    open('done');
    expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
  });

  test('says nothing of an operation that then fails', async () => {
    const { open, opened } = gate();
    const fail = () => opened.then(() => Promise.reject(new Error('late')));
    const { status, run } = await outcomeOf({ handler: fail }, (run) => {
      run.start(false);
      run.response.statusCode = 503;
      run.response.end();
    });
    expect(status).toBe(503);
    open();
    expect(await ended(run)).toEqual({ kind: 'release' });
  });

  test('leaves no trace of a handler that never began', async () => {
    const { status, results } = await outcomeOf({ inner: () => new Subject() }, (run) => {
      run.start(false);
      run.response.statusCode = 403;
      run.response.end('forbidden');
    });
    expect({ status, results }).toEqual({ status: 403, results: [{ kind: 'discard', refused: true }] });
  });
});

describe('a native handler', () => {
  const native = true;

  test('has its response recorded', async () => {
    const handler = (response: ServerResponse) => {
      response.statusCode = 202;
      response.end('mine');
    };
    const { status, body, results } = await outcomeOf({ native, handler });
    expect({ status, body }).toEqual({ status: 202, body: 'mine' });
    expect(results).toMatchObject([stored(202)]);
  });

  test('whose response is too large is recorded when it was sent', async () => {
    const { open, opened } = gate();
    const handler = async (response: ServerResponse) => {
      response.write('more than sixteen bytes');
      await opened;
      response.end('.');
    };
    const { body, run } = await outcomeOf({ native, handler }, (run) => {
      run.start();
      setImmediate(open);
    });
    expect(body).toBe('more than sixteen bytes.');
    expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
  });

  test('that waits for its response to be sent is done', async () => {
    const handler = async (response: ServerResponse) => {
      response.end('sent');
      await once(response, 'finish');
    };
    const { body, results } = await outcomeOf({ native, handler });
    expect(body).toBe('sent');
    expect(results).toMatchObject([stored(200)]);
  });

  describe('whose response is piped from what is filled outside of its execution', () => {
    const piping = (source: Readable) => ({
      native,
      handler: async (response: ServerResponse) => {
        response.statusCode = 402;
        source.pipe(response);
        await finished(response);
      },
    });

    test('has it recorded', async () => {
      const source = new PassThrough();
      const { status, body, results } = await outcomeOf(piping(source), async (run) => {
        run.start();
        source.write('not ');
        await new Promise(setImmediate);
        source.end('paid');
      });
      expect({ status, body }).toEqual({ status: 402, body: 'not paid' });
      expect(results).toMatchObject([stored(402)]);
    });

    test('has it recorded, where it is empty', async () => {
      const source = new PassThrough();
      const { results } = await outcomeOf(piping(source), async (run) => {
        run.start();
        await new Promise(setImmediate);
        source.end();
      });
      expect(results).toMatchObject([stored(402)]);
    });

    test('does not have the response of a time-out recorded, before there is anything to send', async () => {
      const source = new PassThrough();
      const { status, run } = await outcomeOf(piping(source), async (run) => {
        run.start();
        await new Promise(setImmediate);
        run.response.statusCode = 400;
        run.response.end();
      });
      expect(status).toBe(400);
      expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
    });

    test('nor where the source was piped by another', async () => {
      const source = new PassThrough();
      const { open, opened } = gate();
      const { body, run } = await outcomeOf({ native, handler: () => opened }, (run) => {
        run.start();
        source.pipe(run.response);
        source.end('timeout');
      });
      expect({ body, results: run.results }).toEqual({ body: 'timeout', results: [] });
      open();
      expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
    });
  });
});

describe('a transactional handler that writes and then fails', () => {
  const handler = async (response: ServerResponse) => {
    response.end('written');
    await Promise.resolve();
    throw new Error('after the response');
  };

  test('is rolled back, and its response is not sent', async () => {
    const recorded: RecordingResult = { kind: 'freed' };
    const { body, results, run } = await outcomeOf({ native: true, transactional: true, handler, recorded });
    expect(results).toEqual([{ kind: 'release' }]);
    expect([body, (run.filtered[0] as Error).message]).toEqual(['filtered', 'after the response']);
  });
});

describe('instead of its own response', () => {
  test('a run that lost its record sends the outcome on record', async () => {
    const recordState = { status: 'done', outcome: { code: 200, head: null, body: Buffer.from('first') } };
    const { status, body } = await outcomeOf({ recorded: { kind: 'lost', recordState } as never });
    expect({ status, body }).toEqual({ status: 200, body: 'first' });
  });

  test('a run that is held sends a problem', async () => {
    const { status, body } = await outcomeOf({ recorded: { kind: 'held' } });
    expect([status, JSON.parse(body).code]).toEqual([409, 'outcome-unknown']);
  });

  test('a refusal by the database goes to the filters of the application', async () => {
    const refused = new Error('deferred constraint');
    const { body, run } = await outcomeOf({
      transactional: true,
      recorded: { kind: 'rolledBack', error: refused },
    });
    expect([body, run.filtered]).toEqual(['filtered', [refused]]);
  });

  test('a run whose recording fails releases what it has', async () => {
    const { status, body } = await outcomeOf({}, (run) => {
      run.http.onRecorded = () => run.http.onFailure(new Error('broken'));
      run.start();
    });
    expect({ status, body }).toEqual({ status: 201, body: 'value' });
  });
});

describe('a client that has gone', () => {
  test('ends a handler that has succeeded without a response', async () => {
    const run = await leftRun({ leaseMs: 50 }, (left) => left.start(false));
    expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
    expect(run.calls.state).toBe('succeeded');
  });

  test('ends a handler that has failed', async () => {
    const run = await leftRun({ leaseMs: 50, handler: () => Promise.reject(new Error('x')) }, (left) =>
      left.start(false),
    );
    expect(await ended(run)).toEqual({ kind: 'release' });
  });

  // Each of two waits took the other's place: the operation, long done, kept its key for a lease.
  test('ends when its pass does, though a foreign response came in between', async () => {
    const held = new Subject<never>();
    const turns = async () => {
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    };
    const run = await leftRun({ inner: (source) => concat(source, held) }, async (run) => {
      run.start(false);
      while (run.calls.state !== 'succeeded') await new Promise(setImmediate);
      await turns();
      run.response.statusCode = 503;
      run.response.end('timeout');
      await turns();
      held.complete();
    });
    expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
  });

  test('leaves the response that the framework still writes to be recorded', async () => {
    const run = await leftRun({});
    expect(await ended(run)).toMatchObject(stored(201));
  });
});

describe('a response that looks like a stream', () => {
  test('is named, and recorded if it ends soon', async () => {
    const handler = (response: ServerResponse) => {
      response.flushHeaders();
      response.end('short');
    };
    const { run, results } = await outcomeOf({ native: true, handler });
    expect(run.undecided).toEqual(['POST /a']);
    expect(results).toMatchObject([stored(200)]);
  });

  test('is sent as it is written by choice, except its end', async () => {
    const { open, opened } = gate();
    const handler = async (response: ServerResponse) => {
      response.write('first');
      await opened;
      response.end('last');
    };
    let first = '';
    const run = await new Promise<Run>((resolve) => {
      const asked = ask((response) => {
        const streamed = new Run(response, { native: true, stream: true, handler });
        streamed.start();
        resolve(streamed);
      });
      asked.on('response', (answer: IncomingMessage) => {
        answer.on('data', (chunk: Buffer) => {
          first ||= String(chunk);
          open();
        });
      });
    });
    expect(await ended(run)).toEqual(STORE_WITHOUT_RESPONSE);
    expect(first).toBe('first');
    while (!run.response.writableFinished) await new Promise(setImmediate);
  });
});
