import { Logger } from '@nestjs/common';
import { headerFault } from '../cli/header-fault.js';
import { outcomeOf, type Resolution } from '../service/resolution.js';
import { type ActionName, type ActionResult, type BulkResult, type ChangeType, MAX_BULK } from './contract.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { DashboardError } from './dashboard-error.js';
import { answersOverHttp, type JudgedRecord, recordId, type RecordPages } from './record-pages.js';

/** In characters: it is one line of a log. */
const LONGEST_REASON = 500;

/** 2xx to 5xx: what a client can take for the end of its request. */
const LEAST_STATUS = 200;
const MOST_STATUS = 599;

const ACTIONS: readonly ActionName[] = ['resolve', 'release', 'forget'];

const CHANGES: Record<ActionName, ChangeType> = { resolve: 'resolved', release: 'released', forget: 'forgotten' };

/** What the log says that someone did. */
const DID: Record<ActionName, string> = { resolve: 'resolved', release: 'released', forget: 'forgot' };

/** What an operator asks for, checked. */
interface Order {
  readonly action: ActionName;
  readonly reason: string;
  readonly resolution: Resolution | undefined;
  readonly evenIfRunning: boolean;
  /** As the operator saw the record. */
  readonly token: number | undefined;
}

export interface OperatorParts {
  readonly store: Pick<SqlRecordStore, 'forget' | 'resolveHeld'>;
  readonly pages: RecordPages;
  readonly onChange: (id: string, operation: string, type: ChangeType) => void;
}

/** Settles and deletes records for an operator, and logs who did so and why. */
export class OperatorActions {
  private readonly logger = new Logger('IdempotencyDashboard');

  constructor(private readonly parts: OperatorParts) {}

  /** @throws DashboardError where it is not done */
  async one(action: string, id: string, body: unknown, actor: string | null): Promise<ActionResult> {
    const order = readOrder(action, body);
    await this.carryOut(order, recordId(id), actor);
    // It is done. An operator who gets an error would do it again, or look for a fault.
    const [record = null] = await this.parts.pages.summaries([recordId(id)]).catch((error: unknown) => {
      refusalOf(error);
      return [];
    });
    return { id: recordId(id), action: order.action, record };
  }

  /** Record by record, so that one that cannot be settled keeps no other from it. */
  async bulk(body: unknown, actor: string | null): Promise<BulkResult> {
    const { action, ids, tokens = {} } = membersOf(body);
    const order = readOrder(action, body);
    const tokenOf = membersOf(tokens, '`tokens`');
    if (!Array.isArray(ids) || ids.length === 0 || ids.length > MAX_BULK) {
      throw new DashboardError('bad-request', `\`ids\` has to be an array of 1 to ${MAX_BULK} record ids`);
    }
    const results: BulkResult['results'][number][] = [];
    for (const id of new Set(ids.map(recordId))) {
      try {
        await this.carryOut({ ...order, token: readToken(tokenOf[id]) }, id, actor);
        results.push({ id, ok: true });
      } catch (error) {
        results.push({ id, ok: false, error: refusalOf(error).toJSON().error });
      }
    }
    const done = results.filter(({ ok }) => ok).length;
    return { action: order.action, done, failed: results.length - done, results };
  }

  private async carryOut(order: Order, id: string, actor: string | null): Promise<void> {
    const { store, pages, onChange } = this.parts;
    const { action, reason, resolution, evenIfRunning } = order;
    const judged = await pages.brief(id);
    if (!judged) throw notFound(id);
    check(order, judged);
    const { endpoint, token } = judged.record;
    // Compared again by the statement: between the two, a retry may take the record over.
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
    // A warning: with `logger: ['error', 'warn']`, too, it has to be known who repeated an effect.
    this.logger.warn(`${who} ${DID[action]} ${id} (${quoted(endpoint)})${saidOf(resolution)}: ${quoted(reason)}`);
    onChange(id, endpoint, CHANGES[action]);
  }
}

/** What an operator may do with a record. */
export function actionsOn({ record }: JudgedRecord): readonly ActionName[] {
  return record.status === 'held' ? ACTIONS : ['forget'];
}

/** @throws DashboardError */
function check({ action, resolution, evenIfRunning, token }: Order, judged: JudgedRecord): void {
  const { status } = judged.record;
  if (action !== 'forget' && status !== 'held') throw notHeld(status);
  if (token !== undefined && token !== judged.record.token) throw changed();
  if (typeof resolution === 'object') {
    const isValue = 'value' in resolution;
    if (isValue !== answersOverHttp(judged.record)) return;
    const message = isValue
      ? 'The operation answers over HTTP: `outcome` has to have a `status`'
      : 'The operation answers with a value: `outcome` has to have a `value`';
    throw new DashboardError('bad-request', message);
  }
  if (action !== 'forget' || status !== 'processing' || judged.abandoned || evenIfRunning) return;
  throw new DashboardError('running', 'An execution holds a lease on the record: the next request would run beside it');
}

/** @throws DashboardError naming the member that cannot be used */
function readOrder(action: unknown, body: unknown): Order {
  if (!ACTIONS.includes(action as ActionName)) {
    throw new DashboardError('bad-request', `There is no such action; there are ${ACTIONS.join(', ')}`);
  }
  const { reason, outcome, evenIfRunning = false, token } = membersOf(body);
  const text = typeof reason === 'string' ? reason.trim() : '';
  if (text === '' || text.length > LONGEST_REASON) {
    throw new DashboardError('bad-request', `\`reason\` has to be a text of 1 to ${LONGEST_REASON} characters`);
  }
  if (typeof evenIfRunning !== 'boolean') {
    throw new DashboardError('bad-request', '`evenIfRunning` has to be true or false');
  }
  if (action !== 'resolve' && outcome !== undefined) {
    throw new DashboardError('bad-request', '`outcome` goes with the action `resolve`');
  }
  const resolutions = {
    resolve: () => readOutcome(outcome),
    release: () => 'release' as const,
    forget: () => undefined,
  };
  return {
    action: action as ActionName,
    reason: text,
    resolution: resolutions[action as ActionName](),
    evenIfRunning,
    token: readToken(token),
  };
}

function readToken(token: unknown): number | undefined {
  if (token === undefined || Number.isSafeInteger(token)) return token as number | undefined;
  throw new DashboardError('bad-request', '`token` has to be the whole number that the record was shown with');
}

/** @throws DashboardError naming the member that cannot be used */
function readOutcome(outcome: unknown): Resolution {
  const { status, headers = {}, body, value } = membersOf(outcome, '`outcome`');
  if (value !== undefined && status === undefined) return { value };
  if (!Number.isInteger(status) || (status as number) < LEAST_STATUS || (status as number) > MOST_STATUS) {
    throw new DashboardError(
      'bad-request',
      `\`outcome\` has to have a \`value\`, or a \`status\` from ${LEAST_STATUS} to ${MOST_STATUS}`,
    );
  }
  if (body !== undefined && typeof body !== 'string') {
    throw new DashboardError('bad-request', '`outcome.body` has to be a text');
  }
  const given = membersOf(headers, '`outcome.headers`') as Record<string, string>;
  for (const [name, text] of Object.entries(given)) {
    const fault = headerFault(name, text);
    if (fault === 'malformed') {
      throw new DashboardError('bad-request', '`outcome.headers` has to be an object of header values by their names');
    }
    if (fault) {
      throw new DashboardError('bad-request', `\`outcome.headers\` cannot have \`${name}\`: each replay has its own`);
    }
  }
  return { status: status as number, headers: given, ...(body !== undefined && { body }) };
}

function membersOf(value: unknown, what = 'The body'): Partial<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new DashboardError('bad-request', `${what} has to be a JSON object`);
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

/** As JSON of visible characters: nothing in an operator's or a customer's text begins another line of the log. */
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

/** What JavaScript throws where a program is wrong. Drivers and TypeORM throw errors of their own. */
const DEFECTS = [TypeError, RangeError, ReferenceError, SyntaxError];

/** What goes wrong beside what is refused, is the database, or a defect. Its own words are for the log. */
export function refusalOf(error: unknown): DashboardError {
  if (error instanceof DashboardError) return error;
  const logger = new Logger('IdempotencyDashboard');
  const { stack } = error as Error;
  if (DEFECTS.some((defect) => error instanceof defect)) {
    logger.error(`The page could not answer: ${String(error)}`, stack);
    return new DashboardError('failed', 'The page could not answer: the log of the application says why');
  }
  logger.error(`The database could not be asked: ${String(error)}`, stack);
  return new DashboardError('store-unavailable', 'The database could not be asked');
}
