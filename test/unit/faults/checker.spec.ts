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
class Told {
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
      .say({ kind: 'standing', record: RECORD, status: 'done', token })
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
const good = (workload?: Workload) => new Told(workload).claimed(1).began(1).effect(1).completed(1).answered(1);

/** The guarantees that are violated, where one of the violations reads like this. */
function violated(told: Told, detail: RegExp): string[] {
  const violations = told.violations();
  return violations.some((violation) => detail.test(violation.detail))
    ? [...new Set(violations.map(({ guarantee }) => guarantee))]
    : violations.map((violation) => violation.detail);
}

describe('the checker finds nothing in', () => {
  test('one execution and its replay', () => {
    expect(good().answered(1, { replayed: true }).ended().violations()).toEqual([]);
  });

  test('a takeover after the lease, with an effect of each owner', () => {
    const told = new Told().claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(told.completed(2).answered(2, { ask: 2 }).ended(2).violations()).toEqual([]);
  });

  test('a takeover that was given back, as its answer came too late', () => {
    const told = new Told().claimed(1).began(1).effect(1).claimed(3, 'failed', 3_000).began(3).effect(3);
    expect(told.completed(3).answered(3, { ask: 2 }).ended(3).violations()).toEqual([]);
  });

  test('a claim that was sent twice by one owner', () => {
    const told = new Told().claimed(1).claimed(1).began(1).effect(1).completed(1).answered(1);
    expect(told.ended().violations()).toEqual([]);
  });

  test('a transfer whose first attempt failed, and that kept its steps', () => {
    const told = new Told('transfer').claimed(1).began(1).say(CHARGE).step('charge').failed({ run: 'a' });
    told.claimed(2, 'failed').began(2).step('mail', { token: 2 }).completed(2).answered(2, { ask: 2 });
    told.row('debit', { run: 'b', token: 2 }).row('credit', { run: 'b', token: 2 });
    expect(told.ended(2).violations()).toEqual([]);
  });

  test('an operation that is refused each time it is asked for', () => {
    const told = new Told('deferred', true).claimed(1).began(1).failed().claimed(2, 'failed').began(2);
    expect(told.failed({ ask: 2 }).say({ kind: 'healed' }).say({ kind: 'looked' }).violations()).toEqual([]);
  });

  test('a response that was not kept', () => {
    expect(good('large').answered(1, GONE).ended().violations()).toEqual([]);
  });

  test('steps whose names differ by case', () => {
    const told = new Told('items').claimed(1).began(1);
    for (const step of ['item-A', 'item-a', 'item-ä']) told.step(step, { resultOf: step });
    expect(told.completed(1).answered(1).ended().violations()).toEqual([]);
  });

  test('a request that is still under way', () => {
    expect(good().say({ kind: 'ask', op: 'one', ask: 2, app: 'app1' }).say(LATER(500)).waiting().violations()).toEqual(
      [],
    );
  });

  test('a run that was broken off', () => {
    expect(new Told().claimed(1).began(1).effect(1).violations()).toEqual([]);
  });

  test('silence of a process that was stopped', () => {
    const told = new Told().say({ kind: 'fault', fault: 'pause', on: 'app1', number: 1 });
    told.say({ kind: 'lost', op: 'one', ask: 1, why: 'timeout', at: 3_000 });
    expect(told.violations()).toEqual([]);
    expect(told.say({ kind: 'fault over', number: 1 }).violations()).toEqual([]);
  });
});

describe('the checker finds', () => {
  test('one winner: two effects without a takeover', () => {
    expect(violated(good().effect(1), /^2 effects with 0 takeovers/)).toEqual(['one winner']);
  });

  test('one winner: a lease that was not waited for', () => {
    const told = new Told().claimed(1).claimed(2, 'processing', 700).began(2).effect(2).completed(2);
    expect(violated(told, /before the lease of its predecessor ended/)).toEqual(['one winner']);
  });

  test('one winner: a renewed lease that was not waited for', () => {
    const told = new Told().claimed(1).say({ kind: 'renewed', record: RECORD, token: 1, sentAt: 500, at: 505 });
    expect(violated(told.claimed(2, 'processing', 1_200), /took over 300 ms before/)).toEqual(['one winner']);
  });

  test('one winner: a token that was given twice', () => {
    const told = new Told().claimed(1).began(1).say({
      kind: 'claimed',
      record: RECORD,
      owner: 'another',
      token: 1,
      attempt: 1,
      takenFrom: null,
      sentAt: 500,
      at: 510,
    });
    expect(violated(told.began(1), /two executions have the token 1|given after token 1/)).toEqual(['one winner']);
  });

  test('durable before sent: an answer with nothing on record', () => {
    expect(violated(new Told().claimed(1).began(1).effect(1).answered(1), /nothing on record/)).toEqual([
      'durable before sent',
    ]);
  });

  test('durable before sent: two answers', () => {
    const told = good().answered(1, { replayed: true, body: { id: 'other' } });
    expect(violated(told, /and later/)).toEqual(['durable before sent']);
  });

  test('durable before sent: an answer that nobody would expect', () => {
    const told = new Told().answered(1, { status: 400 });
    expect(violated(told, /^answered 400/)).toEqual(['durable before sent']);
  });

  test('durable before sent: an answer without its effect', () => {
    expect(violated(new Told().claimed(1).began(1).completed(1).answered(1), /no effect/)).toEqual([
      'durable before sent',
    ]);
  });

  test('no stale writes: a late writer', () => {
    const told = new Told().claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(violated(told.completed(1, 1_200), /token 1 recorded an outcome after token 2 was given/)).toEqual([
      'no stale writes',
    ]);
  });

  test('no stale writes: an answer of another than the recorded execution', () => {
    expect(violated(good().ended(2), /the answer is of token 1; on record is token 2/)).toEqual(['no stale writes']);
  });

  test('no stale writes: a recorded outcome that is gone', () => {
    const told = good().say({ kind: 'standing', record: RECORD, status: 'processing', token: 1 });
    expect(violated(told, /on record is token 1, processing/)).toEqual(['no stale writes']);
  });

  test('transactional: an effect of each of two executions', () => {
    const told = new Told('transactional').claimed(1).began(1).completed(1).answered(1).ended();
    told.row('row').row('row', { run: 'b', token: 2 });
    expect(violated(told, /^2 effects: row/)).toEqual(['transactional']);
  });

  test('one winner: a token that is given twice, unless the database has forgotten the first', () => {
    const twice = () => new Told('transactional').claimed(1).began(1).claimed(1, null, 1_000).began(1);
    const crash = { kind: 'fault', fault: 'database stopped', on: 'postgres' } as const;
    expect(violated(twice(), /the token 1/)).toEqual(['one winner']);
    const forgotten = new Told('transactional').claimed(1).began(1).say(crash).claimed(1, null, 3_000).began(1);
    expect(violated(forgotten, /the token 1/)).toEqual([]);
    const plain = new Told('plain').claimed(1).began(1).say(crash).claimed(1, null, 3_000).began(1);
    expect(violated(plain, /the token 1/)).toEqual(['one winner']);
  });

  test('transactional: an answer without its effect', () => {
    const told = new Told('transactional').claimed(1).began(1).completed(1).answered(1).ended();
    expect(violated(told, /no effect/)).toEqual(['transactional']);
  });

  test.each(['debit', 'credit'])('transactional: half an effect, the %s', (part) => {
    const told = new Told('transfer').claimed(1).began(1).row(part);
    expect(violated(told, new RegExp(`half an effect: ${part} of token 1 without`))).toEqual(['transactional']);
  });

  test('transactional: half an effect of each of two executions', () => {
    const told = new Told('mixed', true).row('debit').row('credit', { run: 'b', token: 2 });
    expect(violated(told, /half an effect of each/)).toEqual(['transactional']);
  });

  test('transactional: an effect under a failed answer', () => {
    const told = new Told('transactional').claimed(1).began(1).failed({ run: 'a' }).row('row');
    expect(violated(told, /answered 500 .* there is an effect: row of token 1/)).toEqual(['transactional']);
  });

  test('transactional: an effect of what can only be refused', () => {
    const told = new Told('deferred', true).claimed(1).began(1).failed().row('debit').row('credit');
    expect(violated(told, /there is an effect: debit of token 1, credit/)).toEqual(['transactional']);
  });

  test('durable before sent: success where it had to be refused', () => {
    const told = new Told('mixed', true).claimed(1).began(1).completed(1).answered(1);
    expect(violated(told, /answered 201 .* had to be refused/)).toEqual(['durable before sent']);
  });

  test('durable before sent: told to try again what cannot be done, though it is no outage', () => {
    const told = new Told('deferred', true);
    for (let ask = 1; ask <= 21; ask++) told.failed({ ask, status: 503 });
    expect(told.violations()).toEqual([]);
    told.say({ kind: 'operation', op: 'two', workload: 'plain', key: 'l', principal: 'bob', record: 'record-2' });
    const answer = { op: 'two', status: 201, type: '', body: '{}', replayed: false, definitive: false };
    for (let ask = 101; ask <= 140; ask++) told.say({ kind: 'answer', ...answer, ask });
    expect(told.violations()).toEqual([]);
    expect(violated(told.failed({ ask: 22, status: 503 }), /told 22 times .* while 40 others were served/)).toEqual([
      'durable before sent',
    ]);
  });

  test('durable before sent: a response that was not kept, of an operation that could keep it', () => {
    expect(violated(good('plain').answered(1, GONE), /answered 409/)).toEqual(['durable before sent']);
  });

  test('one winner: an operation that was recorded without its response, and ran again', () => {
    const told = good('large').answered(1, GONE).claimed(2, 'failed').began(2).effect(2);
    expect(violated(told, /2 effects with 0 takeovers/)).toEqual(['one winner']);
  });

  test('durable before sent: an answer without one of its steps', () => {
    const told = new Told('items').claimed(1).began(1).step('item-A').step('item-ä').completed(1).answered(1);
    expect(violated(told, /answered, and step item-a never ran/)).toEqual(['durable before sent']);
  });

  test('resumable: a step that is given the result of another', () => {
    const told = new Told('items').claimed(1).began(1).step('item-a', { resultOf: 'item-A' });
    expect(violated(told, /step item-a was given the result of step item-A/)).toEqual(['resumable']);
  });

  test('resumable: a step that is repeated', () => {
    const told = new Told('checkout').claimed(1).step('charge').claimed(2, 'processing', 1_100);
    expect(violated(told.step('charge', { token: 2 }), /ran again under 2/)).toEqual(['resumable']);
  });

  test('resumable: a step that is repeated by an operation that was forgotten', () => {
    const again = { op: 'one', step: 'first', token: 1, run: 'another' };
    const told = new Told('brief').claimed(1).step('first').claimed(1, null, 2_000);
    expect(violated(told.say({ kind: 'step ran', ...again }), /ran again under 1/)).toEqual(['resumable']);
  });

  test('resumable: a released operation is forgotten after its retention, and not before', () => {
    const told = (ranAt: number) => {
      const again = { op: 'one', step: 'first', token: 2, run: 'another' };
      const released = { kind: 'told', record: RECORD, token: 1, event: 'letting go', at: 1_000 } as const;
      return new Told('brief')
        .claimed(1)
        .step('first')
        .say(released)
        .say({ kind: 'step ran', ...again, at: ranAt });
    };
    expect(violated(told(1_900), /ran again under 2/)).toEqual(['resumable']);
    expect(told(2_100).violations()).toEqual([]);
  });

  test('resumable: a zombie that reads what its successor did', () => {
    const told = new Told('checkout').claimed(1).claimed(2, 'processing', 1_100).step('mail', { token: 2 });
    const read = { op: 'one', step: 'mail', token: 1, run: 'zombie' };
    expect(violated(told.say({ kind: 'step done', ...read }), /ran again/)).toEqual([]);
  });

  test('resumable: two charges', () => {
    const told = new Told('checkout').say({ kind: 'charge', op: 'one', key: 'a', first: true });
    expect(violated(told.say({ kind: 'charge', op: 'one', key: 'b', first: true }), /charged 2 times/)).toEqual([
      'resumable',
    ]);
  });

  test('unknown is not retried in the dark: a second effect', () => {
    const told = new Told('held').claimed(1).began(1).effect(1).claimed(2, 'processing', 1_100).began(2).effect(2);
    expect(violated(told, /^2 effects/)).toEqual(['unknown is not retried in the dark']);
  });

  test('fail closed: a handler without a claim', () => {
    expect(violated(new Told().began(1), /under token 1, which nobody was given/)).toEqual(['fail closed']);
  });

  test('fail closed: a process that says nothing', () => {
    const told = new Told().say({ kind: 'lost', op: 'one', ask: 1, why: 'timeout', at: 2_000 });
    expect(violated(told, /said nothing for 1980 ms/)).toEqual(['fail closed']);
  });

  test('fail closed: a request without an end', () => {
    expect(violated(new Told().say(LATER(2_000)).waiting(), /a request without an end: .* 1980 ms/)).toEqual([
      'fail closed',
    ]);
  });

  test("no leaks: another principal's answer", () => {
    const told = new Told().claimed(1).began(1).effect(1).completed(1);
    expect(violated(told.answered(1, { body: { principal: 'bob' } }), /of bob/)).toEqual(['no leaks']);
  });

  test('no leaks: an answer to another request with the same key', () => {
    const answer = { op: 'one', ask: 9, status: 201, type: '', body: '{}', replayed: true, definitive: true };
    expect(violated(good().say({ kind: 'answer', ...answer, misuse: true }), /another request/)).toEqual(['no leaks']);
  });

  test('available again: a key that nobody is answered for', () => {
    expect(violated(new Told().claimed(1).say({ kind: 'healed' }), /not answered within 3100 ms/)).toEqual([
      'available again',
    ]);
  });

  test('available again: a key that takes too long', () => {
    const told = new Told().say({ kind: 'ask', op: 'one', ask: 2, app: 'app1' }).say({ kind: 'healed' });
    told.claimed(1, null, 3_900).began(1).effect(1).completed(1).answered(1, { ask: 2 });
    expect(told.violations().map(({ guarantee }) => guarantee)).toContain('available again');
  });

  test('no orphans: steps without a record', () => {
    expect(violated(good().say({ kind: 'left', records: 0, steps: 2 }), /0 records and 2 steps/)).toEqual([
      'no orphans',
    ]);
  });
});
