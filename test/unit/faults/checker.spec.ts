import { check } from '../../faults/check/checker.js';
import type { Terms, Violation } from '../../faults/check/violation.js';
import type { Entry, News } from '../../faults/history/entry.js';
import type { Workload } from '../../faults/history/workloads.js';

const TERMS: Terms = { leaseMs: 1_000, answerWithinMs: 500, workMs: () => 100 };
const RECORD = 'record-1';
const CHARGE = { kind: 'charge', op: 'one', key: 'a', first: true } as const;
/** The answer to a retry of what was recorded without its response. */
const GONE = { ask: 2, status: 409, body: { code: 'replay-unavailable' } };
/** Something that happens elsewhere, by which time goes on. */
const LATER = (at: number) => ({ kind: 'fault', fault: 'redis flushed', on: 'all redis nodes', at }) as const;

/** A history by hand: each entry 10 ms after the one before, unless it says when. */
class Run {
  private readonly entries: Entry[] = [];
  private at = 0;
  private stillWaits = false;

  constructor(
    workload: Workload = 'plain',
    private readonly refused?: true,
  ) {
    this.say({ kind: 'operation', op: 'one', workload, key: 'k', principal: 'alice', record: RECORD, refused });
    this.say({ kind: 'ask', op: 'one', ask: 1, app: 'app1' });
  }

  say(news: News, who = 'app1'): this {
    this.at = news.at ?? this.at + 10;
    this.entries.push({ who, ...news, at: this.at } as Entry);
    return this;
  }

  claimed(token: number, takenFrom: string | null = null, at?: number): this {
    const sentAt = (at ?? this.at + 10) - 1;
    return this.say({
      kind: 'claimed',
      record: RECORD,
      owner: `o${token}`,
      token,
      attempt: token,
      takenFrom,
      sentAt,
      at,
    });
  }

  began(token: number): this {
    return this.say({ kind: 'began', op: 'one', token, attempt: token });
  }

  effect(token: number): this {
    return this.say({ kind: 'effect', op: 'one', token, attempt: token });
  }

  completed(token: number, sentAt = this.at): this {
    return this.say({ kind: 'completed', record: RECORD, token, sentAt });
  }

  answered(token: number, { ask = 1, replayed = false, body = {}, status = 201 } = {}): this {
    const text = JSON.stringify({ op: 'one', principal: 'alice', token, ...body });
    const answer = { op: 'one', ask, status, type: 'application/json', body: text, replayed, definitive: true };
    return this.say({ kind: 'answer', ...answer });
  }

  /** An answer that says no. `run`: which call of the handler failed, where it says so itself. */
  failed({ ask = 1, status = 500, run }: { ask?: number; status?: number; run?: string } = {}): this {
    const body = JSON.stringify(run ? { id: run, failed: true } : { statusCode: status });
    const answer = { op: 'one', ask, status, type: 'application/json', body, replayed: false };
    return this.say({ kind: 'answer', ...answer, definitive: this.refused === true && status === 500 });
  }

  /** A row that was found in the database. */
  row(part: string, { run = 'a', token = 1 } = {}): this {
    return this.say({ kind: 'row', op: 'one', part, run, token, attempt: token });
  }

  /** A step that was carried out, and is on record. */
  step(step: string, { token = 1, resultOf }: { token?: number; resultOf?: string } = {}): this {
    const news = { op: 'one', step, token, run: `run ${token}` };
    return this.say({ kind: 'step ran', ...news }).say({ kind: 'step done', ...news, resultOf });
  }

  /** What ends every run in which all went well. */
  ended(token = 1): this {
    return this.say({ kind: 'healed' })
      .say({ kind: 'looked' })
      .say({ kind: 'final record', record: RECORD, status: 'done', token })
      .say({ kind: 'left', records: 0, steps: 0 });
  }

  /** Clients that have no answer go on waiting. Else they have given up on it. */
  waiting(): this {
    this.stillWaits = true;
    return this;
  }

  violations(): Violation[] {
    const ended = this.entries.flatMap((entry) => (entry.kind === 'answer' || entry.kind === 'lost' ? entry.ask : []));
    for (const { ask } of this.entries.filter((entry) => entry.kind === 'ask')) {
      if (!this.stillWaits && !ended.includes(ask)) this.say({ kind: 'lost', op: 'one', ask, why: 'gaveUp' });
    }
    return check(
      [...this.entries].sort((a, b) => a.at - b.at),
      TERMS,
    );
  }
}

/** One execution, from its claim to its answer. */
const good = (workload?: Workload) => new Run(workload).claimed(1).began(1).effect(1).completed(1).answered(1);

/** The guarantees that are violated, where one of the violations reads like this. */
function violated(history: Run, detail: RegExp): string[] {
  const violations = history.violations();
  return violations.some((violation) => detail.test(violation.detail))
    ? [...new Set(violations.map(({ guarantee }) => guarantee))]
    : violations.map((violation) => violation.detail);
}

describe('the checker finds nothing in', () => {
  test('one execution and its replay', () => {
    expect(good().answered(1, { replayed: true }).ended().violations()).toEqual([]);
  });

  test('a takeover after the lease, with an effect of each owner', () => {
    const history = new Run().claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(history.completed(2).answered(2, { ask: 2 }).ended(2).violations()).toEqual([]);
  });

  test('a takeover that was given back, as its answer came too late', () => {
    const history = new Run().claimed(1).began(1).effect(1).claimed(3, 'failed', 3_000).began(3).effect(3);
    expect(history.completed(3).answered(3, { ask: 2 }).ended(3).violations()).toEqual([]);
  });

  test('a claim that was sent twice by one owner', () => {
    const history = new Run().claimed(1).claimed(1).began(1).effect(1).completed(1).answered(1);
    expect(history.ended().violations()).toEqual([]);
  });

  test('a transfer whose first attempt failed, and that kept its steps', () => {
    const history = new Run('transfer').claimed(1).began(1).say(CHARGE).step('charge').failed({ run: 'a' });
    history.claimed(2, 'failed').began(2).step('mail', { token: 2 }).completed(2).answered(2, { ask: 2 });
    history.row('debit', { run: 'b', token: 2 }).row('credit', { run: 'b', token: 2 });
    expect(history.ended(2).violations()).toEqual([]);
  });

  test('an operation that is refused each time it is asked for', () => {
    const history = new Run('deferred', true).claimed(1).began(1).failed().claimed(2, 'failed').began(2);
    expect(history.failed({ ask: 2 }).say({ kind: 'healed' }).say({ kind: 'looked' }).violations()).toEqual([]);
  });

  test('a response that was not kept', () => {
    expect(good('large').answered(1, GONE).ended().violations()).toEqual([]);
  });

  test('steps whose names differ by case', () => {
    const history = new Run('items').claimed(1).began(1);
    for (const step of ['item-A', 'item-a', 'item-ä']) history.step(step, { resultOf: step });
    expect(history.completed(1).answered(1).ended().violations()).toEqual([]);
  });

  test('a request that is still under way', () => {
    expect(good().say({ kind: 'ask', op: 'one', ask: 2, app: 'app1' }).say(LATER(500)).waiting().violations()).toEqual(
      [],
    );
  });

  test('a run that was broken off', () => {
    expect(new Run().claimed(1).began(1).effect(1).violations()).toEqual([]);
  });

  test('silence of a process that was stopped', () => {
    const history = new Run().say({ kind: 'fault', fault: 'pause', on: 'app1', number: 1 });
    history.say({ kind: 'lost', op: 'one', ask: 1, why: 'timeout', at: 3_000 });
    expect(history.violations()).toEqual([]);
    expect(history.say({ kind: 'fault over', number: 1 }).violations()).toEqual([]);
  });
});

describe('the checker finds', () => {
  test('one winner: two effects without a takeover', () => {
    expect(violated(good().effect(1), /^2 effects with 0 takeovers/)).toEqual(['one winner']);
  });

  test('one winner: a lease that was not waited for', () => {
    const history = new Run().claimed(1).claimed(2, 'processing', 700).began(2).effect(2).completed(2);
    expect(violated(history, /before the lease of its predecessor ended/)).toEqual(['one winner']);
  });

  test('one winner: a renewed lease that was not waited for', () => {
    const history = new Run().claimed(1).say({ kind: 'renewed', record: RECORD, token: 1, sentAt: 500, at: 505 });
    expect(violated(history.claimed(2, 'processing', 1_200), /took over 300 ms before/)).toEqual(['one winner']);
  });

  test('one winner: a token that was given twice', () => {
    const history = new Run().claimed(1).began(1).say({
      kind: 'claimed',
      record: RECORD,
      owner: 'another',
      token: 1,
      attempt: 1,
      takenFrom: null,
      sentAt: 500,
      at: 510,
    });
    expect(violated(history.began(1), /two executions have the token 1|given after token 1/)).toEqual(['one winner']);
  });

  test('durable before sent: an answer with nothing on record', () => {
    expect(violated(new Run().claimed(1).began(1).effect(1).answered(1), /nothing on record/)).toEqual([
      'durable before sent',
    ]);
  });

  test('durable before sent: two answers', () => {
    const history = good().answered(1, { replayed: true, body: { id: 'other' } });
    expect(violated(history, /and later/)).toEqual(['durable before sent']);
  });

  test('durable before sent: an unexpected answer', () => {
    const history = new Run().answered(1, { status: 400 });
    expect(violated(history, /^answered 400/)).toEqual(['durable before sent']);
  });

  test('durable before sent: an answer without its effect', () => {
    expect(violated(new Run().claimed(1).began(1).completed(1).answered(1), /no effect/)).toEqual([
      'durable before sent',
    ]);
  });

  test('no stale writes: a late writer', () => {
    const history = new Run().claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(violated(history.completed(1, 1_200), /token 1 recorded an outcome after token 2 was given/)).toEqual([
      'no stale writes',
    ]);
  });

  test('no stale writes: an answer of another than the recorded execution', () => {
    expect(violated(good().ended(2), /the answer is of token 1; on record is token 2/)).toEqual(['no stale writes']);
  });

  test('no stale writes: a recorded outcome that is gone', () => {
    const history = good().say({ kind: 'final record', record: RECORD, status: 'processing', token: 1 });
    expect(violated(history, /on record is token 1, processing/)).toEqual(['no stale writes']);
  });

  test('transactional: an effect of each of two executions', () => {
    const history = new Run('transactional').claimed(1).began(1).completed(1).answered(1).ended();
    history.row('row').row('row', { run: 'b', token: 2 });
    expect(violated(history, /^2 effects: row/)).toEqual(['transactional']);
  });

  test('one winner: a token that is given twice, unless the database has forgotten the first', () => {
    const twice = () => new Run('transactional').claimed(1).began(1).claimed(1, null, 1_000).began(1);
    const crash = { kind: 'fault', fault: 'database stopped', on: 'postgres' } as const;
    expect(violated(twice(), /the token 1/)).toEqual(['one winner']);
    const forgotten = new Run('transactional').claimed(1).began(1).say(crash).claimed(1, null, 3_000).began(1);
    expect(violated(forgotten, /the token 1/)).toEqual([]);
    const plain = new Run('plain').claimed(1).began(1).say(crash).claimed(1, null, 3_000).began(1);
    expect(violated(plain, /the token 1/)).toEqual(['one winner']);
  });

  test('transactional: an answer without its effect', () => {
    const history = new Run('transactional').claimed(1).began(1).completed(1).answered(1).ended();
    expect(violated(history, /no effect/)).toEqual(['transactional']);
  });

  test.each(['debit', 'credit'])('transactional: half an effect, the %s', (part) => {
    const history = new Run('transfer').claimed(1).began(1).row(part);
    expect(violated(history, new RegExp(`half an effect: ${part} of token 1 without`))).toEqual(['transactional']);
  });

  test('transactional: half an effect of each of two executions', () => {
    const history = new Run('mixed', true).row('debit').row('credit', { run: 'b', token: 2 });
    expect(violated(history, /half an effect of each/)).toEqual(['transactional']);
  });

  test('transactional: an effect under a failed answer', () => {
    const history = new Run('transactional').claimed(1).began(1).failed({ run: 'a' }).row('row');
    expect(violated(history, /answered 500 .* there is an effect: row of token 1/)).toEqual(['transactional']);
  });

  test('transactional: an effect of what can only be refused', () => {
    const history = new Run('deferred', true).claimed(1).began(1).failed().row('debit').row('credit');
    expect(violated(history, /there is an effect: debit of token 1, credit/)).toEqual(['transactional']);
  });

  test('durable before sent: success where it had to be refused', () => {
    const history = new Run('mixed', true).claimed(1).began(1).completed(1).answered(1);
    expect(violated(history, /answered 201 .* had to be refused/)).toEqual(['durable before sent']);
  });

  test('durable before sent: asked to try again what cannot be done, though it is no outage', () => {
    const history = new Run('deferred', true);
    for (let ask = 1; ask <= 21; ask++) history.failed({ ask, status: 503 });
    expect(history.violations()).toEqual([]);
    history.say({ kind: 'operation', op: 'two', workload: 'plain', key: 'l', principal: 'bob', record: 'record-2' });
    const answer = { op: 'two', status: 201, type: '', body: '{}', replayed: false, definitive: false };
    for (let ask = 101; ask <= 140; ask++) history.say({ kind: 'answer', ...answer, ask });
    expect(history.violations()).toEqual([]);
    expect(violated(history.failed({ ask: 22, status: 503 }), /asked 22 times .* while 40 others were served/)).toEqual(
      ['durable before sent'],
    );
  });

  test('durable before sent: a response that was not kept, of an operation that could keep it', () => {
    expect(violated(good('plain').answered(1, GONE), /answered 409/)).toEqual(['durable before sent']);
  });

  test('one winner: an operation that was recorded without its response, and ran again', () => {
    const history = good('large').answered(1, GONE).claimed(2, 'failed').began(2).effect(2);
    expect(violated(history, /2 effects with 0 takeovers/)).toEqual(['one winner']);
  });

  test('durable before sent: an answer without one of its steps', () => {
    const history = new Run('items').claimed(1).began(1).step('item-A').step('item-ä').completed(1).answered(1);
    expect(violated(history, /answered, and step item-a never ran/)).toEqual(['durable before sent']);
  });

  test('resumable: a step that is given the result of another', () => {
    const history = new Run('items').claimed(1).began(1).step('item-a', { resultOf: 'item-A' });
    expect(violated(history, /step item-a was given the result of step item-A/)).toEqual(['resumable']);
  });

  test('resumable: a step that is repeated', () => {
    const history = new Run('checkout').claimed(1).step('charge').claimed(2, 'processing', 1_100);
    expect(violated(history.step('charge', { token: 2 }), /ran again under 2/)).toEqual(['resumable']);
  });

  test('resumable: a step that is repeated by an operation that was forgotten', () => {
    const again = { op: 'one', step: 'first', token: 1, run: 'another' };
    const history = new Run('brief').claimed(1).step('first').claimed(1, null, 2_000);
    expect(violated(history.say({ kind: 'step ran', ...again }), /ran again under 1/)).toEqual(['resumable']);
  });

  test('resumable: a released operation is forgotten after its retention, and not before', () => {
    const history = (ranAt: number) => {
      const again = { op: 'one', step: 'first', token: 2, run: 'another' };
      const released = { kind: 'engine event', record: RECORD, token: 1, event: 'letting go', at: 1_000 } as const;
      return new Run('brief')
        .claimed(1)
        .step('first')
        .say(released)
        .say({ kind: 'step ran', ...again, at: ranAt });
    };
    expect(violated(history(1_900), /ran again under 2/)).toEqual(['resumable']);
    expect(history(2_100).violations()).toEqual([]);
  });

  test('resumable: a zombie that reads what its successor did', () => {
    const history = new Run('checkout').claimed(1).claimed(2, 'processing', 1_100).step('mail', { token: 2 });
    const read = { op: 'one', step: 'mail', token: 1, run: 'zombie' };
    expect(violated(history.say({ kind: 'step done', ...read }), /ran again/)).toEqual([]);
  });

  test('resumable: two charges', () => {
    const history = new Run('checkout').say({ kind: 'charge', op: 'one', key: 'a', first: true });
    expect(violated(history.say({ kind: 'charge', op: 'one', key: 'b', first: true }), /charged 2 times/)).toEqual([
      'resumable',
    ]);
  });

  test('unknown outcomes are never retried: a second effect', () => {
    const history = new Run('held').claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(violated(history, /^2 effects/)).toEqual(['unknown outcomes are never retried']);
  });

  test('fail closed: a handler without a claim', () => {
    expect(violated(new Run().began(1), /under token 1, which no execution was given/)).toEqual(['fail closed']);
  });

  test('fail closed: a process that says nothing', () => {
    const history = new Run().say({ kind: 'lost', op: 'one', ask: 1, why: 'timeout', at: 2_000 });
    expect(violated(history, /said nothing for 1980 ms/)).toEqual(['fail closed']);
  });

  test('fail closed: a request without an end', () => {
    expect(violated(new Run().say(LATER(2_000)).waiting(), /a request without an end: .* 1980 ms/)).toEqual([
      'fail closed',
    ]);
  });

  test("no leaks: another principal's answer", () => {
    const history = new Run().claimed(1).began(1).effect(1).completed(1);
    expect(violated(history.answered(1, { body: { principal: 'bob' } }), /of bob/)).toEqual(['no leaks']);
  });

  test('no leaks: an answer to another request with the same key', () => {
    const answer = { op: 'one', ask: 9, status: 201, type: '', body: '{}', replayed: true, definitive: true };
    expect(violated(good().say({ kind: 'answer', ...answer, misuse: true }), /another request/)).toEqual(['no leaks']);
  });

  test('available again: a key whose requests get no answer', () => {
    expect(violated(new Run().claimed(1).say({ kind: 'healed' }), /not answered within 3100 ms/)).toEqual([
      'available again',
    ]);
  });

  test('available again: a key that takes too long', () => {
    const history = new Run().say({ kind: 'ask', op: 'one', ask: 2, app: 'app1' }).say({ kind: 'healed' });
    history.claimed(1, null, 3_900).began(1).effect(1).completed(1).answered(1, { ask: 2 });
    expect(history.violations().map(({ guarantee }) => guarantee)).toContain('available again');
  });

  test('no orphans: steps without a record', () => {
    expect(violated(good().say({ kind: 'left', records: 0, steps: 2 }), /0 records and 2 steps/)).toEqual([
      'no orphans',
    ]);
  });
});
