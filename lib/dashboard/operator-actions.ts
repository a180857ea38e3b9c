import { Logger } from '@nestjs/common';
import { headerFault } from '../cli/header-fault.js';
import { answersOverHttp, fits, isStatus, outcomeOf, type Resolution } from '../service/resolution.js';
import { type ActionName, type ActionResult, type BulkResult, type ChangeType, MAX_BULK } from './contract.js';
import { explainStore } from '../store/missing-tables.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { DashboardError, invalid } from './dashboard-error.js';
import { type JudgedRecord, recordId, type RecordPages } from './record-pages.js';

/** In characters. A reason is one line of the log. */
const MAX_REASON_LENGTH = 500;

const ACTIONS: readonly ActionName[] = ['resolve', 'release', 'forget'];

const CHANGES: Record<ActionName, ChangeType> = { resolve: 'resolved', release: 'released', forget: 'forgotten' };

/** The verbs of the log. */
const DID: Record<ActionName, string> = { resolve: 'resolved', release: 'released', forget: 'forgot' };

/** A validated request of an operator. */
interface Order {
  readonly action: ActionName;
  readonly reason: string;
  readonly resolution: Resolution | undefined;
  readonly evenIfRunning: boolean;
  /** The token that the operator saw. */
  readonly token: number | undefined;
}

interface OperatorParts {
  readonly store: Pick<SqlRecordStore, 'forget' | 'resolveHeld'>;
  readonly pages: RecordPages;
  readonly onChange: (id: string, operation: string, type: ChangeType) => void;
}

/** Settles and deletes records for an operator, and logs who did so, and why. */
export class OperatorActions {
  private readonly logger = new Logger('IdempotencyDashboard');

  constructor(private readonly parts: OperatorParts) {}

  /** @throws DashboardError if nothing was changed */
  async one(action: string, id: string, body: unknown, actor: string | null): Promise<ActionResult> {
    const order = readOrder(action, body);
    await this.apply(order, recordId(id), actor);
    // The record is changed: an error of this query would make the operator try again, or look for a fault.
    const [record = null] = await this.parts.pages.summaries([recordId(id)]).catch((error: unknown) => {
      refusalOf(error);
      return [];
    });
    return { id: recordId(id), action: order.action, record };
  }

  /** Settles records one by one, so that a refused one does not prevent the others. */
  async bulk(body: unknown, actor: string | null): Promise<BulkResult> {
    const { action, ids, tokens = {} } = membersOf(body);
    const order = readOrder(action, body);
    const tokenOf = membersOf(tokens, '`tokens`');
    if (!Array.isArray(ids) || ids.length === 0 || ids.length > MAX_BULK) {
      throw invalid(`\`ids\` has to be an array of 1 to ${MAX_BULK} record ids`);
    }
    const results: BulkResult['results'][number][] = [];
    for (const id of new Set(ids.map(recordId))) {
      try {
        await this.apply({ ...order, token: readToken(tokenOf[id]) }, id, actor);
        results.push({ id, ok: true });
      } catch (error) {
        results.push({ id, ok: false, error: refusalOf(error).toJSON().error });
      }
    }
    const done = results.filter(({ ok }) => ok).length;
    return { action: order.action, done, failed: results.length - done, results };
  }

  private async apply(order: Order, id: string, actor: string | null): Promise<void> {
    const { store, pages, onChange } = this.parts;
    const { action, reason, resolution, evenIfRunning } = order;
    const judged = await pages.brief(id);
    if (!judged) throw notFound(id);
    check(order, judged);
    const { endpoint, token } = judged.record;
    // The statement compares the token again: meanwhile, a retry may have taken the record over.
    const isDone =
      resolution === undefined
        ? await store.forget(id, { token, evenIfRunning })
        : await store.resolveHeld(id, outcomeOf(resolution), null, token);
    if (!isDone) {
      const now = await pages.brief(id);
      if (!now) throw notFound(id);
      check(order, now);
      throw changed();
    }
    const who = actor === null ? 'Someone' : quoted(actor);
    // A warning, so that it is logged with `logger: ['error', 'warn']`: who repeated an effect has to be known.
    this.logger.warn(`${who} ${DID[action]} ${id} (${quoted(endpoint)})${saidOf(resolution)}: ${quoted(reason)}`);
    onChange(id, endpoint, CHANGES[action]);
  }
}

/** Returns what an operator may do with a record. */
export function actionsOn({ record }: JudgedRecord): readonly ActionName[] {
  return record.status === 'held' ? ACTIONS : ['forget'];
}

/** @throws DashboardError if the record is not in a state for the order */
function check({ action, resolution, evenIfRunning, token }: Order, judged: JudgedRecord): void {
  const { status } = judged.record;
  if (action !== 'forget' && status !== 'held') throw notHeld(status);
  if (token !== undefined && token !== judged.record.token) throw changed();
  if (resolution !== undefined && !fits(resolution, judged.record)) {
    if (answersOverHttp(judged.record))
      throw invalid('The operation answers over HTTP: `outcome` has to have a `status`');
    throw invalid('The operation answers with a value: `outcome` has to have a `value`');
  }
  if (action !== 'forget' || status !== 'processing' || judged.abandoned || evenIfRunning) return;
  throw new DashboardError('running', 'An execution holds a lease on the record: the next request would run beside it');
}

/** @throws DashboardError naming the member that cannot be used */
function readOrder(action: unknown, body: unknown): Order {
  if (!ACTIONS.includes(action as ActionName)) {
    throw invalid(`There is no such action; there are ${ACTIONS.join(', ')}`);
  }
  const { reason, outcome, evenIfRunning = false, token } = membersOf(body);
  const text = typeof reason === 'string' ? reason.trim() : '';
  if (text === '' || text.length > MAX_REASON_LENGTH) {
    throw invalid(`\`reason\` has to be a text of 1 to ${MAX_REASON_LENGTH} characters`);
  }
  if (typeof evenIfRunning !== 'boolean') {
    throw invalid('`evenIfRunning` has to be true or false');
  }
  if (action !== 'resolve' && outcome !== undefined) {
    throw invalid('`outcome` goes with the action `resolve`');
  }
  return {
    action: action as ActionName,
    reason: text,
    resolution: action === 'resolve' ? readOutcome(outcome) : action === 'release' ? 'release' : undefined,
    evenIfRunning,
    token: readToken(token),
  };
}

function readToken(token: unknown): number | undefined {
  if (token === undefined || Number.isSafeInteger(token)) return token as number | undefined;
  throw invalid('`token` has to be the whole number that the record was shown with');
}

/** @throws DashboardError naming the member that cannot be used */
function readOutcome(outcome: unknown): Resolution {
  const { status, headers = {}, body, value } = membersOf(outcome, '`outcome`');
  if (value !== undefined && status === undefined) return { value };
  if (!isStatus(status)) {
    throw invalid('`outcome` has to have a `value`, or a `status` from 200 to 599');
  }
  if (body !== undefined && typeof body !== 'string') {
    throw invalid('`outcome.body` has to be a text');
  }
  const given = membersOf(headers, '`outcome.headers`') as Record<string, string>;
  for (const [name, text] of Object.entries(given)) {
    const fault = headerFault(name, text);
    if (fault === 'malformed') {
      throw invalid('`outcome.headers` has to be an object of header values by their names');
    }
    if (fault) {
      throw invalid(`\`outcome.headers\` cannot have \`${name}\`: each replay has its own`);
    }
  }
  return { status, headers: given, ...(body !== undefined && { body }) };
}

function membersOf(value: unknown, what = 'The body'): Partial<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw invalid(`${what} has to be a JSON object`);
}

function saidOf(resolution: Resolution | undefined): string {
  if (resolution === undefined || resolution === 'release') return '';
  return 'value' in resolution ? ' with a value' : ` with ${resolution.status}`;
}

function notHeld(status: string): DashboardError {
  return new DashboardError('not-held', `The record is not held, but ${status}`);
}

function changed(): DashboardError {
  return new DashboardError('changed', 'The record has changed since it was shown: look at it again');
}

/** Returns JSON of visible characters: a line break in a customer's text could otherwise forge a line of the log. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(
    // oxlint-disable-next-line no-control-regex
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function notFound(id: string): DashboardError {
  return new DashboardError('not-found', `There is no record ${id}`);
}

/** Errors of a wrong program. Drivers and TypeORM throw classes of their own. */
const DEFECTS = [TypeError, RangeError, ReferenceError, SyntaxError];

/**
 * Returns the error for the page. What is no refusal is a defect or an outage of the database, and its message is only logged: it may
 * contain content of records.
 */
export function refusalOf(error: unknown): DashboardError {
  if (error instanceof DashboardError) return error;
  const logger = new Logger('IdempotencyDashboard');
  const { stack } = error as Error;
  if (DEFECTS.some((defect) => error instanceof defect)) {
    logger.error(`The page could not answer: ${String(error)}`, stack);
    return new DashboardError('failed', 'The page could not answer: the log of the application says why');
  }
  logger.error(`The database could not be asked: ${explainStore(error)}`, stack);
  return new DashboardError('store-unavailable', 'The database could not be asked');
}
