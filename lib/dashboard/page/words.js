/** The meaning of states and actions, in the words of an operator. */
import { absolute, relative } from './format.js';

export const STATUSES = ['held', 'processing', 'done', 'failed'];

/** @param {any} record a summary */
export function stateOf({ status, abandoned, expired }) {
  if (abandoned) return { state: 'abandoned', label: 'abandoned' };
  if (expired && status !== 'held') return { state: 'expired', label: `${status}, expired` };
  return { state: status, label: status };
}

export function outcomeOf({ status, responseCode }) {
  if (responseCode === null) return status === 'held' ? 'unknown' : '–';
  if (responseCode === 0) return 'not kept';
  if (responseCode === 2) return 'failed, not kept';
  return responseCode === 1 ? 'a value' : String(responseCode);
}

/** Returns what happened and what follows, in one or two sentences: operators read them first. */
export function story(record) {
  const { status, operation, attempt, createdAt, expiresAt, leaseUntil } = record;
  const began = absolute(Date.parse(createdAt));
  if (status === 'held') {
    return [
      `${operation} began at ${began} and has no outcome on record.`,
      'Its process died, or a step got no answer, so it is unknown whether the effect happened. Retries are refused until you decide.',
    ];
  }
  if (record.abandoned) {
    return [
      `The process that ran attempt ${attempt} stopped renewing its lease at ${absolute(Date.parse(leaseUntil))}.`,
      'The next retry takes over and runs the handler again.',
    ];
  }
  if (status === 'processing') {
    return [
      `Attempt ${attempt} is running.`,
      `Its lease ends ${relative(Date.parse(leaseUntil))}, unless its process renews it.`,
    ];
  }
  if (status === 'failed') {
    return [
      `Attempt ${attempt} failed and freed the key.`,
      record.expiresAt === null
        ? 'The next retry runs the handler again, but not the steps that are done. Its request has to be the same.'
        : 'The next retry runs the handler again. Its request has to be the same.',
    ];
  }
  if (record.expired)
    return ['The operation is done, and its retention has ended.', 'A request with this key runs again.'];
  if (record.responseCode === 0 || record.responseCode === 2) {
    return [
      `The operation ${record.responseCode === 0 ? 'is done' : 'has failed'}, but its answer was not kept.`,
      'Retries are refused, and the handler does not run again.',
    ];
  }
  return [
    'The operation is done.',
    `Every retry gets the recorded answer${until(expiresAt)}. The handler does not run again.`,
  ];
}

const EXPIRES = {
  done: 'Until then, retries are answered from the record.',
  failed: 'Until then, only the same request may use the key.',
};

const until = (expiresAt) => (expiresAt === null ? '' : ` until ${absolute(Date.parse(expiresAt))}`);

/** For each action: when to take it, and what it does. */
export const ACTIONS = {
  resolve: {
    label: 'Resolve…',
    verb: 'Resolve',
    when: 'It happened',
    does: 'Records the outcome that you enter. Every retry gets it, and the handler does not run again.',
    past: 'Resolved',
    after: 'Retries get the outcome that you entered.',
    onlyHeld: true,
  },
  release: {
    label: 'Release…',
    verb: 'Release',
    when: 'It did not happen',
    does: 'Frees the key: the next retry runs the handler again. If the effect did happen, it happens twice: a card is charged again.',
    past: 'Released',
    after: 'The next retry runs the handler again.',
    onlyHeld: true,
    risky: true,
  },
  forget: {
    label: 'Forget…',
    verb: 'Forget',
    when: 'Neither: delete it',
    does: 'Deletes the record, its steps and its fingerprint. The next request with this key runs from the start, whatever it asks for, and repeats every effect.',
    past: 'Forgotten',
    after: 'The next request with this key runs from the start.',
    risky: true,
  },
};

/** Returns where the operator can find out whether the effect happened. */
export function advice(record) {
  const steps = record.timeline.filter(({ kind }) => kind === 'step');
  const open = steps.filter(({ status }) => status === 'begun').map(({ name }) => name);
  const done = steps.filter(({ status }) => status === 'done').map(({ name }) => name);
  const names = (list) => list.map((name) => `“${name}”`).join(', ');
  const lines = [];
  if (open.length > 0) {
    lines.push(
      `${open.length === 1 ? 'Step' : 'Steps'} ${names(open)} began and has no result. Ask the other side whether it happened, by the key that it was sent (execution.deriveKey) or by the values of the request.`,
    );
  } else {
    lines.push(
      `No step was under way. Look for the effect between ${absolute(Date.parse(record.createdAt))} and ${absolute(Date.parse(record.leaseUntil))}, by the values of the request.`,
    );
  }
  if (done.length > 0)
    lines.push(
      `${names(done)} ${done.length === 1 ? 'is' : 'are'} done: a run after release skips ${done.length === 1 ? 'it' : 'them'}.`,
    );
  return lines;
}

const times = (count) => (count === 1 ? 'once' : `${count} times`);

/** Returns the title of a timeline's entry, and what it means. */
export function entryWords(entry, record) {
  switch (entry.kind) {
    case 'created':
      return { title: 'Claimed', text: 'The first request won the key and began to run.' };
    case 'attempt':
      return entry.takenOver
        ? { title: `Attempt ${entry.attempt} took over`, text: 'The owner before it stopped renewing its lease.' }
        : { title: `Attempt ${entry.attempt} began`, text: 'The one before it had freed the key.' };
    case 'step':
      return {
        title: `Step “${entry.name}” ${{ begun: record.status === 'processing' && !record.abandoned ? 'is running' : 'began', done: 'is done', failed: 'failed' }[entry.status]}`,
        text:
          entry.status === 'begun' && record.status === 'held'
            ? 'It has no result: whether it happened is unknown.'
            : '',
      };
    case 'replayed':
      return { title: `Answered from the record ${times(entry.count)}`, text: 'The handler did not run.' };
    case 'conflict':
      return {
        title: `Refused a duplicate ${times(entry.count)}`,
        text: 'It came while the first request was running.',
      };
    case 'mismatch':
      return {
        title: `Refused another request ${times(entry.count)}`,
        text: 'It reused the key for something else, or came from someone else.',
      };
    case 'refused':
      return {
        title: `Refused a request ${times(entry.count)}`,
        text: 'The outcome is unknown, or its answer was not kept.',
      };
    case 'leaseLost':
      return {
        title: 'Lost its lease',
        text: 'Another request may have taken over. What the old owner records is refused.',
      };
    case 'unrecorded':
      return { title: 'Outcome not recorded', text: 'The database was lost between the effect and its record.' };
    case 'notKept':
      return { title: 'Answer not kept', text: 'The store refused it, or it cannot be written down.' };
    case 'completed':
      return { title: 'Completed', text: entry.responseCode ? `Outcome: ${outcomeOf(entry)}.` : '' };
    case 'released':
      return { title: 'Released', text: 'The key was freed for the next request.' };
    case 'held':
      return { title: 'Held', text: 'The outcome is unknown until an operator decides.' };
    case 'lease':
      return entry.past
        ? { title: 'Lease ran out', text: 'The process did not renew it: it died, or was paused.' }
        : { title: 'Lease ends', text: 'Its process renews it as long as it lives.' };
    case 'expires':
      return entry.past
        ? { title: 'Expired', text: 'The sweeper deletes it.' }
        : { title: 'Expires', text: EXPIRES[record.status] ?? '' };
    default:
      return { title: entry.kind, text: '' };
  }
}
