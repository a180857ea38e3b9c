import { unpackHead } from '../../edges/content/response-head.js';
import { VALUE_CODE } from '../../engine/outcome.js';
import { neverExpires } from '../../service/record-view.js';
import type { IdempotencyRecord, IdempotencyStep } from '../../store/entities/index.js';
import type { Command } from '../command.js';
import { ContentReader, type Content } from '../content-reader.js';
import { encryptionFrom } from '../encryption-keys.js';
import { ExitCode } from '../exit-codes.js';
import { asText, instant, outcome, printable, status } from '../output/format.js';
import { pairs, table } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { summaryOf } from '../record-json.js';
import { noSuchRecord, recordIdOf, WHICH_RECORD } from '../which-record.js';

export const show: Command = {
  name: 'show',
  operand: '[<recordId>]',
  summary: 'Shows one record with its request, outcome and steps',
  options: WHICH_RECORD,
  async run(invocation) {
    const { terminal, env, result } = invocation;
    const id = recordIdOf(invocation);
    const encryption = encryptionFrom(env, 'read');
    const service = await invocation.service();
    const record = await service.find(id);
    if (!record) throw noSuchRecord(id, invocation);
    const shown = read(record, await service.steps(id), new ContentReader(id, encryption));
    result(asJson(record, shown), asLines(terminal, record, shown));
    return ExitCode.fine;
  },
};

interface Shown {
  readonly request: Content | null;
  readonly head: Content | null;
  readonly body: Content | null;
  readonly steps: readonly { readonly step: IdempotencyStep; readonly result: Content | null }[];
}

function read(record: IdempotencyRecord, steps: readonly IdempotencyStep[], reader: ContentReader): Shown {
  return {
    request: reader.read(record.request, 'request'),
    head: reader.readHead(record),
    body: reader.readBody(record),
    steps: steps.map((step) => ({ step, result: reader.read(step.result, `step:${step.name}`) })),
  };
}

function asJson(record: IdempotencyRecord, { request, head, body, steps }: Shown): object {
  return {
    ...summaryOf(record),
    request: parsed(request),
    responseHead: parsed(head),
    responseBody: toJson(body),
    steps: steps.map(({ step: { name, status: of, token, updatedAt }, result }) => ({
      name,
      status: of,
      token,
      updatedAt,
      result: parsed(result),
    })),
  };
}

/** Returns text, or an object that says why it is none. */
function toJson(content: Content | null): string | object | null {
  if (!content) return null;
  if (content.kind === 'sealed') return { encrypted: content.why };
  return asText(content.bytes) ?? { base64: content.bytes.toString('base64') };
}

/** Returns what the library stores as JSON, or its text: a client can nest JSON deeper than it can be written, and others write to the table. */
function parsed(content: Content | null): unknown {
  if (content?.kind !== 'plain') return toJson(content);
  try {
    // The result of a step may begin with a line of the types that JSON cannot express.
    const value = JSON.parse(content.bytes.toString().replace(/^#.*\n/, '')) as unknown;
    JSON.stringify(value);
    return value;
  } catch {
    return toJson(content);
  }
}

function asLines(terminal: Terminal, record: IdempotencyRecord, { request, head, body, steps }: Shown): string {
  const { status: of, attempt, takenFrom, completedAt } = record;
  const facts: [string, string][] = [
    ['record id', record.id],
    ['endpoint', record.endpoint],
    ['route', record.route ?? ''],
    ['status', status(terminal, of)],
    ['attempt', takenFrom ? `${attempt} (token ${record.token}, taken from ${takenFrom})` : String(attempt)],
    ['created', instant(record.createdAt)],
    ['lease until', of === 'processing' || of === 'held' ? instant(record.leaseUntil) : ''],
    ['completed', completedAt ? instant(completedAt) : ''],
    ['expires', expiry(record)],
    ['outcome', outcome(record.responseCode)],
  ];
  const parts = [pairs(facts.filter(([, value]) => value !== ''))];
  const add = (title: string, text: string) => parts.push(`${terminal.style('bold', title)}\n${text}`);
  if (request) add('request', textOf(request));
  if (head) add('response head', headText(record, head));
  if (body) add('response body', textOf(body));
  if (steps.length > 0) {
    const rows = steps.map(({ step, result }) => [
      step.name,
      step.status,
      instant(step.updatedAt),
      result ? textOf(result) : '',
    ]);
    add('steps', table(['NAME', 'STATUS', 'WRITTEN', 'RESULT'], rows));
  }
  return parts.join('\n\n');
}

function expiry(record: IdempotencyRecord): string {
  if (record.status === 'held') return 'not before it is resolved';
  if (!neverExpires(record)) return instant(record.expiresAt);
  return record.status === 'failed' ? 'never: the next attempt needs its steps' : 'never';
}

function headText({ responseCode }: IdempotencyRecord, head: Content): string {
  if (head.kind === 'sealed' || responseCode === VALUE_CODE) return textOf(head);
  try {
    const { headers } = unpackHead(head.bytes);
    return headers.length > 0 ? headers.map(([name, value]) => `${name}: ${String(value)}`).join('\n') : '(no headers)';
  } catch {
    // Someone else has written it: what a replay refuses, an operator has to see.
    return textOf(head);
  }
}

function textOf(content: Content): string {
  return content.kind === 'plain' ? printable(content.bytes) : content.why;
}
