import type { Answer, Operation } from './clients.js';
import type { EffectRow } from './effect-row.js';
import type { Run } from './order.js';
import type { Happening } from './provider.js';

/** Acknowledgements of this time may be lost, as asynchronous replication may lose what it has acknowledged. */
export interface MayForget {
  readonly from: number;
  readonly until: number;
  /**
   * Replays alone. A server that waits in vain for its synchronous standby shows others what it has committed as it shuts
   * down, for some milliseconds, and never acknowledges it.
   */
  readonly replaysOnly?: boolean;
}

export interface Seen {
  readonly operations: readonly Operation[];
  readonly happenings: ReadonlyMap<string, readonly Happening[]>;
  /** What is in the database in the end. */
  readonly rows: readonly EffectRow[];
  readonly leaseMs: number;
  readonly mayForget?: MayForget;
}

export interface Verdict {
  /** What must not be, in words. */
  readonly violations: readonly string[];
  /** Operations that ran again after a lease had ended: what they did outside may have happened twice. */
  readonly takenOver: number;
  /** When outcomes were acknowledged that were lost later: allowed within {@link MayForget}, a violation otherwise. */
  readonly forgotten: readonly number[];
  /** Operations that ran again because the database forgot them: what they did outside has happened twice. */
  readonly repeated: number;
}

/** Looks for effects that were lost or doubled, and for keys with two answers. */
export function check(seen: Seen): Verdict {
  const violations: string[] = [];
  const rows = groupBy(seen.rows, ({ op }) => op);
  let takenOver = 0;
  const forgotten: number[] = [];
  let repeated = 0;
  for (const operation of seen.operations) {
    const { op } = operation.order;
    const judged = judge(operation, seen.happenings.get(op) ?? [], rows.get(op) ?? [], seen);
    for (const detail of judged.violations) violations.push(`${operation.route} ${op}: ${detail}`);
    if (judged.takenOver) takenOver++;
    if (judged.forgottenAt !== undefined) forgotten.push(judged.forgottenAt);
    if (judged.repeated) repeated++;
  }
  return { violations, takenOver, forgotten, repeated };
}

interface Judged {
  readonly violations: string[];
  readonly takenOver: boolean;
  readonly repeated: boolean;
  readonly forgottenAt?: number;
}

function judge(
  { answers, route }: Operation,
  happenings: readonly Happening[],
  rows: readonly EffectRow[],
  { leaseMs, mayForget }: Seen,
): Judged {
  const violations: string[] = [];
  const isForgettable = ({ at, replayed = false }: { at: number; replayed?: boolean }) => {
    if (!mayForget || (mayForget.replaysOnly && !replayed)) return false;
    return at >= mayForget.from && at <= mayForget.until;
  };

  const last = answers.at(-1);
  if (!last) return { violations: ['was not answered in the end'], takenOver: false, repeated: false };
  for (const { status, body } of answers) if (status !== 201) violations.push(`answered ${status} ${body}`);
  if (violations.length) return { violations, takenOver: false, repeated: false };

  // Answers may overtake each other on their way: what counts is which one was asked for last.
  const final = runOf(answers.reduce((one, other) => (other.askedAt > one.askedAt ? other : one)));
  const others = answers.filter((answer) => runOf(answer).run !== final.run);
  const odd = others.find((answer) => !isForgettable(answer));
  if (odd) violations.push(`${odd.replayed ? 'replayed' : 'answered'} ${odd.body}, and later ${last.body}`);
  if (new Set(answers.filter((answer) => runOf(answer).run === final.run).map(({ body }) => body)).size > 1) {
    violations.push(`one run is answered in two ways: ${answers.map(({ body }) => body).join(' and ')}`);
  }
  const forgottenAt = others.length ? Math.max(...others.map(({ at }) => at)) : undefined;

  if (route === 'transactional') {
    const parts = rows.map(({ part }) => part).sort();
    if (parts.join() !== 'credit,debit') violations.push(`in the database: ${parts.join(', ') || 'no effect'}`);
    else if (rows.some(({ run }) => run !== final.run)) violations.push('the effect is of another run than the answer');
    return { violations, takenOver: false, repeated: false, forgottenAt };
  }

  const of = (what: Happening['what']) => happenings.filter((one) => one.what === what);
  let takenOver = false;
  let repeated = false;
  if (route === 'steps') {
    if (of('charge').length !== 1) violations.push(`charged ${of('charge').length} times`);
    const done = of('mail done');
    for (const mail of of('mail')) {
      const before = done.find((one) => one.run !== mail.run && one.at < mail.at);
      if (!before) continue;
      if (isForgettable(before)) repeated = true;
      else violations.push(`the mail of token ${before.token} was on record, and token ${mail.token} sent it again`);
    }
    if (of('mail').length === 0) violations.push('answered, and no mail');
    return { violations, takenOver, repeated, forgottenAt };
  }

  const effects = of('effect');
  if (!effects.some(({ run }) => run === final.run)) violations.push('answered, and no effect of that run');
  for (const [i, later] of effects.entries()) {
    for (const earlier of effects.slice(0, i)) {
      // It cannot have claimed before its request arrived, so that its lease ended no earlier than this.
      const leaseUntil = earlier.arrivedAt + leaseMs;
      if (later.at >= leaseUntil && later.token > earlier.token) takenOver = true;
      else if (isForgettable(earlier)) repeated = true;
      else {
        violations.push(
          `doubled: tokens ${earlier.token} and ${later.token}, ${Math.round(leaseUntil - later.at)} ms before its lease ended`,
        );
      }
    }
  }
  return { violations, takenOver, repeated, forgottenAt };
}

function runOf({ body }: Answer): Run {
  return JSON.parse(body) as Run;
}

function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(keyOf(one));
    if (group) group.push(one);
    else groups.set(keyOf(one), [one]);
  }
  return groups;
}
