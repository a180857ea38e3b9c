import type { RecordStatus } from '../../engine/ports/record-store.js';
import { parseRecordId, STATUSES } from '../../service/filters.js';
import { neverExpires } from '../../service/record-view.js';
import type { IdempotencyRecord } from '../../store/entities/index.js';
import type { Command } from '../command.js';
import { ExitCode, refusal, usageError } from '../exit-codes.js';
import { outcome, status, when } from '../output/format.js';
import { table } from '../output/table.js';
import { summaryOf } from '../record-json.js';
import { wholeNumber } from '../values.js';
import { OF_SCOPE, scopeOf, serviceOfScope } from '../which-scope.js';

export const list: Command = {
  name: 'list',
  operand: '',
  summary: 'Lists records, newest first',
  options: {
    'status <status>': `only with this status: ${STATUSES.join(', ')}`,
    held: 'the same as --status held',
    'endpoint <endpoint>': "only of this endpoint: 'POST /payments/:id', or the operation's name",
    ...OF_SCOPE,
    'before <recordId>': 'only older records than this one: the next page; or a time (ISO 8601)',
    'limit <n>': 'how many records at most; default: 50',
  },
  async run(invocation) {
    const { terminal, json, text } = invocation;
    const scope = scopeOf(invocation);
    const query = {
      status: statusOf(text('status'), invocation.flag('held')),
      operation: endpointOf(text('endpoint')),
      ...(scope !== undefined && { scope }),
      before: beforeOf(text('before')),
      limit: wholeNumber('limit', text('limit')) ?? 50,
    };
    const service = scope === undefined ? await invocation.service() : await serviceOfScope(invocation);
    const records = await service.list(query).catch(toRefusal);
    if (json) terminal.json(records.map(summaryOf));
    if (records.length === 0) throw refusal('No records found');
    if (json) return ExitCode.fine;
    const rows = records.map((record) => [
      record.id,
      status(terminal, record.status),
      outcome(record.responseCode),
      String(record.attempt),
      when(record.createdAt),
      expiry(record),
      record.route === null ? record.endpoint : `${record.endpoint} (${record.route})`,
    ]);
    terminal.print(table(['RECORD ID', 'STATUS', 'OUTCOME', 'ATTEMPT', 'CREATED', 'EXPIRES', 'ENDPOINT'], rows));
    return ExitCode.fine;
  },
};

function expiry(record: IdempotencyRecord): string {
  if (record.status === 'held') return '';
  return neverExpires(record) ? 'never' : when(record.expiresAt);
}

function statusOf(given: string | undefined, held: boolean): RecordStatus | undefined {
  if (held && given !== undefined && given !== 'held') throw usageError('--held and --status contradict each other');
  if (held) return 'held';
  if (given === undefined || STATUSES.includes(given as RecordStatus)) return given as RecordStatus | undefined;
  throw usageError(`--status must be one of ${STATUSES.join(', ')}`);
}

function endpointOf(given: string | undefined): string | undefined {
  if (given === '') throw usageError('--endpoint must not be empty');
  return given;
}

function beforeOf(given: string | undefined): string | Date | undefined {
  if (given === undefined) return undefined;
  const id = parseRecordId(given);
  if (id !== undefined) return id;
  const time = new Date(given);
  if (Number.isNaN(time.getTime()))
    throw usageError('--before must be a record id, or a time such as 2026-03-01T12:00:00Z');
  return time;
}

/** The record of `--before` may have been deleted since. */
function toRefusal(error: unknown): never {
  throw error instanceof RangeError ? refusal(error.message) : error;
}
