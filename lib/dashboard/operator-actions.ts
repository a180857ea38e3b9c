import { Logger } from '@nestjs/common';
import { mediaTypeOf } from '../cli/commands/resolve.js';
import type { IdempotencyService, Resolution } from '../service/idempotency.service.js';
import { type ActionName, type ActionResult, type BulkResult, type ChangeType, MAX_BULK } from './contract.js';
import { DashboardError } from './dashboard-error.js';
import { type JudgedRecord, recordId, type RecordPages } from './record-pages.js';

/** In characters: it is one line of a log. */
const LONGEST_REASON = 500;

/** 2xx to 5xx: what a client can take for the end of its request. */
const LEAST_STATUS = 200;
const MOST_STATUS = 599;

/** RFC 9110, sections 5.1 and 5.5. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

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
}

export interface OperatorParts {
  readonly service: IdempotencyService;
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
    const [record = null] = await this.parts.pages.summaries([recordId(id)]);
    return { id: recordId(id), action: order.action, record };
  }

  /** Record by record, so that one that cannot be settled keeps no other from it. */
  async bulk(body: unknown, actor: string | null): Promise<BulkResult> {
    const { action, ids } = membersOf(body);
    const order = readOrder(action, body);
    if (!Array.isArray(ids) || ids.length === 0 || ids.length > MAX_BULK) {
      throw new DashboardError('bad-request', `\`ids\` has to be an array of 1 to ${MAX_BULK} record ids`);
    }
    const results: BulkResult['results'][number][] = [];
    for (const id of new Set(ids.map(recordId))) {
      try {
        await this.carryOut(order, id, actor);
        results.push({ id, ok: true });
      } catch (error) {
        results.push({ id, ok: false, error: refusalOf(error).toJSON().error });
      }
    }
    const done = results.filter(({ ok }) => ok).length;
    return { action: order.action, done, failed: results.length - done, results };
  }

  private async carryOut(order: Order, id: string, actor: string | null): Promise<void> {
    const { service, pages, onChange } = this.parts;
    const { action, reason, resolution } = order;
    const judged = await pages.whole(id);
    if (!judged) throw notFound(id);
    check(order, judged);
    const isDone = resolution === undefined ? await service.forget(id) : await service.resolve(id, resolution);
    if (!isDone) {
      const [now] = await pages.summaries([id]);
      throw now ? notHeld(now.status) : notFound(id);
    }
    const { endpoint } = judged.record;
    // As JSON: a line break in a reason must not begin another line of the log.
    const who = actor === null ? 'Someone' : JSON.stringify(actor);
    this.logger.log(`${who} ${DID[action]} ${id} (${endpoint})${outcomeOf(resolution)}: ${JSON.stringify(reason)}`);
    onChange(id, endpoint, CHANGES[action]);
  }
}

/** What an operator may do with a record. */
export function actionsOn({ record }: JudgedRecord): readonly ActionName[] {
  return record.status === 'held' ? ACTIONS : ['forget'];
}

/**
 * Whether an operation answers over HTTP, as its route says: a retry there cannot be answered with a value. An operation of
 * another kind has none.
 */
export function answersOverHttp({ record }: JudgedRecord): boolean {
  return record.route !== null || /^[A-Z]+ \//.test(record.endpoint);
}

/** @throws DashboardError */
function check({ action, resolution, evenIfRunning }: Order, judged: JudgedRecord): void {
  const { status } = judged.record;
  if (action !== 'forget') {
    if (status !== 'held') throw notHeld(status);
    const isValue = typeof resolution === 'object' && 'value' in resolution;
    if (!isValue || !answersOverHttp(judged)) return;
    throw new DashboardError('bad-request', 'The operation answers over HTTP: `outcome` has to have a `status`');
  }
  if (status !== 'processing' || judged.abandoned || evenIfRunning) return;
  throw new DashboardError('running', 'An execution holds a lease on the record: the next request would run beside it');
}

/** @throws DashboardError naming the member that cannot be used */
function readOrder(action: unknown, body: unknown): Order {
  if (!ACTIONS.includes(action as ActionName)) {
    throw new DashboardError('bad-request', `There is no such action; there are ${ACTIONS.join(', ')}`);
  }
  const { reason, outcome, evenIfRunning = false } = membersOf(body);
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
  return { action: action as ActionName, reason: text, resolution: resolutions[action as ActionName](), evenIfRunning };
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
  const given = Object.entries(membersOf(headers, '`outcome.headers`'));
  for (const [name, text] of given) {
    if (HEADER_NAME.test(name) && typeof text === 'string' && HEADER_VALUE.test(text)) continue;
    throw new DashboardError('bad-request', '`outcome.headers` has to be an object of header values by their names');
  }
  const isTyped = body === undefined || given.some(([name]) => name.toLowerCase() === 'content-type');
  return {
    status: status as number,
    headers: { ...(!isTyped && { 'Content-Type': mediaTypeOf(body) }), ...(Object.fromEntries(given) as object) },
    ...(body !== undefined && { body }),
  };
}

function membersOf(value: unknown, what = 'The body'): Partial<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new DashboardError('bad-request', `${what} has to be a JSON object`);
}

function outcomeOf(resolution: Resolution | undefined): string {
  if (resolution === undefined || resolution === 'release') return '';
  return 'value' in resolution ? ' with a value' : ` with ${resolution.status}`;
}

function notHeld(status: string): DashboardError {
  return new DashboardError('not-held', `The record is not held, but ${status}`);
}

export function notFound(id: string): DashboardError {
  return new DashboardError('not-found', `There is no record ${id}`);
}

/** What goes wrong beside what is refused, is the database. Its own words are for the log. */
export function refusalOf(error: unknown): DashboardError {
  if (error instanceof DashboardError) return error;
  new Logger('IdempotencyDashboard').error(`The database could not be asked: ${String(error)}`);
  return new DashboardError('store-unavailable', 'The database could not be asked');
}
