import type { Answer, Claimed, Operation, Renewed, Row } from '../history/entry.js';
import { isTransactional, WORKLOADS } from '../history/workloads.js';
import type { History } from './history.js';
import type { Guarantee, Rule } from './violation.js';

/** What handlers of the lab answer. */
interface Body {
  readonly op?: string;
  readonly principal?: string;
  readonly token?: number;
  /** Which call of the handler made it. */
  readonly id?: string;
}

/** Whether an operation may begin again, with tokens that were given before. */
const beginsAnew = ({ workload }: Operation) => WORKLOADS[workload].forgottenAfterMs !== undefined;

/** An execution's lease cannot have run out earlier than a lease after it asked for it. */
const leaseIsKept: Rule = function* (history, operation, { leaseMs }) {
  const extensions: (Claimed | Renewed)[] = [...history.claims(operation), ...history.of(operation, 'renewed')];
  for (const claim of history.claims(operation)) {
    if (claim.takenFrom !== 'processing') continue;
    for (const held of extensions) {
      if (held.token !== claim.token - 1 || (beginsAnew(operation) && held.at > claim.at)) continue;
      const left = held.sentAt + leaseMs - claim.at;
      if (left > 0)
        yield `token ${claim.token} took over ${Math.round(left)} ms before the lease of its predecessor ended`;
    }
  }
};

/** Faults in which PostgreSQL loses its memory, and how long before them it has put on disk what it was to put there later. */
const AMNESIA = new Set(['database stopped', 'backend killed']);
const REMEMBERED_BEFORE = 1_000;

/**
 * Whether a crash of the database may have taken the claim of an execution that began then. Those of transactional
 * operations do not wait for the disk: their writes are lost with them.
 */
function mayBeForgotten(history: History, { workload }: Operation, began: number): boolean {
  if (!isTransactional(workload)) return false;
  return history
    .all('fault')
    .some(({ fault, at }) => AMNESIA.has(fault) && at > began - REMEMBERED_BEFORE && at < began + REMEMBERED_BEFORE);
}

/** Of claims that a handler ran under: others may have been taken back, and left nothing behind. */
const tokensGrow: Rule = function* (history, operation) {
  if (beginsAnew(operation)) return;
  const tokens = new Set<number>();
  const claims = history.claims(operation);
  const used: Claimed[] = [];
  for (const { token, who, at, again } of history.of(operation, 'began')) {
    if (again || mayBeForgotten(history, operation, at)) continue;
    if (tokens.has(token)) yield `two executions have the token ${token}`;
    tokens.add(token);
    const claim = claims.findLast((one) => one.token === token && one.who === who && one.at <= at);
    if (claim) used.push(claim);
  }
  for (const earlier of used) {
    const late = used.find((later) => later.sentAt > earlier.at && later.token <= earlier.token && later !== earlier);
    if (late) yield `token ${late.token} was given after token ${earlier.token}`;
  }
};

/**
 * One effect, and one more for each owner that fell silent after it. A token that no process received belongs to a claim whose
 * answer came too late: it may have been a takeover, and was given back.
 */
const effectsAreCounted: Rule = function* (history, operation) {
  if (operation.workload === 'held') return;
  const effects = history.of(operation, 'effect').length;
  const claims = history.claims(operation);
  const tokens = new Set(claims.map(({ token }) => token));
  const untold = Math.max(0, ...tokens) - tokens.size;
  const takeovers = untold + claims.filter((claim) => claim.takenFrom === 'processing').length;
  if (effects > 1 + takeovers) yield `${effects} effects with ${takeovers} takeovers`;
};

const answersAreTheSame: Rule = function* (history, operation) {
  if (operation.refused) return;
  const [first, ...later] = history.answers(operation).filter((answer) => !isGone(operation, answer));
  const other = later.find((answer) => !same(first, answer));
  if (other) yield `answered ${print(first)}, and later ${print(other)}`;
};

/** An execution's own answer comes after its outcome is on record. A replay may overtake the news of that. */
const answersAreDurable: Rule = function* (history, operation) {
  const completed = history.of(operation, 'completed');
  for (const answer of history.answers(operation)) {
    if (answer.status >= 300 || answer.replayed || completed.some(({ at }) => at <= answer.at)) continue;
    yield `answered ${print(answer)} with nothing on record`;
    return;
  }
};

const answersAreExpected: Rule = function* (history, operation) {
  const isExpected = (answer: Answer) =>
    operation.refused ? answer.status >= 400 : answer.status === 201 || isGone(operation, answer);
  const odd = history.answers(operation).find((answer) => !isExpected(answer));
  if (odd) yield `answered ${print(odd)}${operation.refused ? ', which had to be refused' : ''}`;
};

/** An outcome that was recorded without its response is not repeated: only the first client gets it, if any. */
function isGone({ workload }: Operation, { status, body }: Answer): boolean {
  return WORKLOADS[workload].responseless === true && status === 409 && body.includes('"code":"replay-unavailable"');
}

/** So many times in a row, and so many others served meanwhile: that is no outage any more. */
const IN_VAIN = 20;

/** A client that is asked to try again must have something to gain from it. */
const refusalsAreFinal: Rule = function* (history, operation) {
  if (!operation.refused) return;
  const until = history.answers(operation)[0]?.at ?? Infinity;
  const [first, ...more] = history.of(operation, 'answer').filter(({ status, at }) => status === 503 && at < until);
  const last = more.at(-1);
  if (!last || more.length < IN_VAIN) return;
  const served = history
    .all('answer')
    .filter(({ at, status, replayed }) => status === 201 && !replayed && at > first.at && at < last.at).length;
  if (served < 2 * IN_VAIN) return;
  yield `asked ${more.length + 1} times to try again what cannot be done, while ${served} others were served`;
};

const lateWritersAreFenced: Rule = function* (history, operation) {
  const completed = history.of(operation, 'completed');
  for (const { token, sentAt } of beginsAnew(operation) ? [] : completed) {
    const winner = history.claims(operation).find((claim) => claim.token > token && claim.at < sentAt);
    if (winner) yield `token ${token} recorded an outcome after token ${winner.token} was given`;
  }
  const tokens = [...new Set(completed.map(({ token }) => token))];
  if (tokens.length > 1) yield `outcomes were recorded under tokens ${tokens.join(' and ')}`;
};

const answersAreOnRecord: Rule = function* (history, operation) {
  const final = history.of(operation, 'final record').at(-1);
  if (!final || history.of(operation, 'resolved').length) return;
  for (const answer of history.answers(operation)) {
    const { token } = bodyOf(answer);
    if (answer.status !== 201 || token === undefined) continue;
    if (final.status === 'done' && final.token === token) continue;
    yield `the answer is of token ${token}; on record is token ${final.token}, ${final.status}`;
    return;
  }
};

const rowsAreCounted: Rule = function* (history, operation) {
  const rows = history.of(operation, 'row');
  for (const part of WORKLOADS[operation.workload].rows ?? []) {
    const count = rows.filter((row) => row.part === part).length;
    if (count > 1) yield `${count} effects: ${part}`;
  }
};

/** All that one call of the handler wrote, or nothing. */
const effectsAreWhole: Rule = function* (history, operation) {
  const rows = history.of(operation, 'row');
  if (rows.length === 0) return;
  const missing = (WORKLOADS[operation.workload].rows ?? []).filter((part) => !rows.some((row) => row.part === part));
  if (missing.length) yield `half an effect: ${list(rows)} without ${missing.join(' and ')}`;
  else if (new Set(rows.map(({ run }) => run)).size > 1)
    yield `half an effect of each of two executions: ${list(rows)}`;
};

const rowsAreThere: Rule = function* (history, operation) {
  const looked = history.all('looked').at(-1)?.at;
  if (looked === undefined || !isTransactional(operation.workload)) return;
  const answered = history
    .answers(operation)
    .some((answer) => (answer.status === 201 || isGone(operation, answer)) && answer.at < looked);
  if (answered && history.of(operation, 'row').length === 0) yield 'answered, and no effect';
};

/** Of an operation that can only be refused, and of a call of the handler that says itself that it has failed. */
const failuresHaveNoEffect: Rule = function* (history, operation) {
  const rows = history.of(operation, 'row');
  if (rows.length === 0) return;
  for (const answer of history.of(operation, 'answer')) {
    if (answer.misuse || answer.status < 400) continue;
    const { id } = bodyOf(answer);
    const theirs = answer.definitive && operation.refused ? rows : rows.filter(({ run }) => run === id);
    if (theirs.length) yield `answered ${print(answer)}, and yet there is an effect: ${list(theirs)}`;
  }
};

const effectsAreThere: Rule = function* (history, operation) {
  const { steps = [], outside } = WORKLOADS[operation.workload];
  if (history.of(operation, 'resolved').length) return;
  const answers = history.answers(operation);
  if (!answers.some((answer) => answer.status === 201 || isGone(operation, answer))) return;
  if (outside && history.of(operation, outside).length === 0) yield 'answered, and no effect';
  const ran = history.of(operation, 'step ran');
  const missing = steps.find((step) => !ran.some((one) => one.step === step));
  if (missing) yield `answered, and step ${missing} never ran`;
};

const stepsAreNotRepeated: Rule = function* (history, operation) {
  const { forgottenAfterMs = Infinity } = WORKLOADS[operation.workload];
  const lettingGo = history.of(operation, 'engine event').filter(({ event }) => event === 'letting go');
  const done = history.of(operation, 'step done');
  for (const ran of history.of(operation, 'step ran')) {
    const earlier = done.find((one) => {
      // A zombie may read a step that its successor has done: later, though under a lower token.
      const isEarlier = one.step === ran.step && one.run !== ran.run && one.token <= ran.token && one.at < ran.at;
      return isEarlier && !lettingGo.some(({ at }) => at > one.at && at + forgottenAfterMs < ran.at);
    });
    if (earlier) yield `step ${ran.step} was done under token ${earlier.token} and ran again under ${ran.token}`;
  }
};

const stepsHaveTheirOwnResults: Rule = function* (history, operation) {
  for (const { step, resultOf } of history.of(operation, 'step done')) {
    if (resultOf !== undefined && resultOf !== step) yield `step ${step} was given the result of step ${resultOf}`;
  }
};

const chargesAreCounted: Rule = function* (history, operation) {
  const charges = history.of(operation, 'charge').filter(({ first }) => first).length;
  if (charges > 1) yield `charged ${charges} times`;
};

const heldIsHeld: Rule = function* (history, operation) {
  if (operation.workload !== 'held') return;
  const effects = history.of(operation, 'effect').length;
  if (effects > 1) yield `${effects} effects`;
};

const handlersHaveClaims: Rule = function* (history, operation) {
  const claims = history.claims(operation);
  for (const { token } of history.of(operation, 'began')) {
    if (!claims.some((claim) => claim.token === token))
      yield `the handler ran under token ${token}, which no execution was given`;
  }
};

/** Every request comes to an end, in time: an answer, or a connection that breaks. */
const silenceIsBounded: Rule = function* (history, operation, { answerWithinMs, workMs }) {
  const limit = answerWithinMs + workMs(operation);
  const ends = [...history.of(operation, 'answer'), ...history.of(operation, 'lost')];
  for (const ask of history.of(operation, 'ask')) {
    const end = ends.find((one) => one.ask === ask.ask);
    if (end?.kind === 'lost' && end.why === 'gaveUp') continue;
    const until = end?.at ?? history.end;
    if (until - ask.at <= limit || until - ask.at <= limit + starved(history, ask.at, until, ask.app)) continue;
    const excused = history.faults.some(
      (fault) =>
        STANDS_STILL.has(fault.fault) && fault.on === ask.app && fault.at < ask.at + limit && fault.end > ask.at,
    );
    const silence = `${ask.app} said nothing for ${Math.round(until - ask.at)} ms`;
    if (!excused) yield end ? silence : `a request without an end: ${silence}`;
  }
};

/** How long the processes of the lab waited for a processor meanwhile: the machine may have other work. */
function starved(history: History, from: number, to: number, app?: string): number {
  const waits: Record<string, number> = {};
  for (const { who, at, ms } of history.all('starved')) {
    if (at > from && at <= to && (app === undefined || who === app || !who.startsWith('app'))) {
      waits[who] = (waits[who] ?? 0) + ms;
    }
  }
  return Math.max(0, ...Object.values(waits));
}

/** While these last, an application cannot answer. */
const STANDS_STILL = new Set(['pause']);

const answersStayAtHome: Rule = function* (history, operation) {
  for (const answer of history.of(operation, 'answer')) {
    if (answer.status >= 300) continue;
    if (answer.misuse) yield `another request with the same key was answered ${print(answer)}`;
    const { op, principal } = bodyOf(answer);
    if (op !== undefined && (op !== operation.op || principal !== operation.principal)) {
      yield `${operation.principal} was given the answer to ${op} of ${principal}`;
    }
  }
};

const keysComeBack: Rule = function* (history, operation, { leaseMs, workMs }) {
  const healed = history.all('healed').at(-1)?.at;
  if (healed === undefined || operation.abandoned) return;
  const limit = leaseMs + GRACE + workMs(operation);
  const asked = history.of(operation, 'ask').find((ask) => !ask.misuse)?.at;
  if (asked === undefined) return;
  const answered = history.answers(operation)[0]?.at ?? Infinity;
  const from = Math.max(healed, asked);
  const late = answered - from;
  if (late > limit && late > limit + starved(history, from, Math.min(answered, history.end)))
    yield `not answered within ${limit} ms after the faults${late < Infinity ? ` but ${Math.round(late)}` : ''}`;
};

/** What a key may take beyond its lease, in milliseconds. */
const GRACE = 2_000;

export const RULES: readonly (readonly [Guarantee, Rule])[] = [
  ['one winner', leaseIsKept],
  ['one winner', tokensGrow],
  ['one winner', effectsAreCounted],
  ['durable before sent', answersAreTheSame],
  ['durable before sent', answersAreDurable],
  ['durable before sent', answersAreExpected],
  ['durable before sent', effectsAreThere],
  ['durable before sent', refusalsAreFinal],
  ['no stale writes', lateWritersAreFenced],
  ['no stale writes', answersAreOnRecord],
  ['transactional', rowsAreCounted],
  ['transactional', effectsAreWhole],
  ['transactional', rowsAreThere],
  ['transactional', failuresHaveNoEffect],
  ['resumable', stepsAreNotRepeated],
  ['resumable', stepsHaveTheirOwnResults],
  ['resumable', chargesAreCounted],
  ['unknown outcomes are never retried', heldIsHeld],
  ['fail closed', handlersHaveClaims],
  ['fail closed', silenceIsBounded],
  ['no leaks', answersStayAtHome],
  ['available again', keysComeBack],
];

function same(a: Answer, b: Answer): boolean {
  return a.status === b.status && a.type === b.type && a.body === b.body;
}

function list(rows: readonly Row[]): string {
  return rows.map(({ part, token }) => `${part} of token ${token}`).join(', ');
}

function print({ status, body }: Answer): string {
  return `${status} ${body.slice(0, 200)}`;
}

function bodyOf({ body }: Answer): Body {
  try {
    return JSON.parse(body) as Body;
  } catch {
    return {};
  }
}
