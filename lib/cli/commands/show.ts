import { unpackHead } from '../../edges/content/response-head.js';
import { VALUE_CODE } from '../../engine/outcome.js';
import type { IdempotencyRecord, IdempotencyStep } from '../../store/entities/index.js';
import type { Command } from '../command.js';
import { ContentReader, type Content } from '../content-reader.js';
import { encryptionFrom } from '../encryption-keys.js';
import { ExitCode } from '../exit-codes.js';
import { instant, outcome, printable, status } from '../output/format.js';
import { pairs, table } from '../output/table.js';
import type { Terminal } from '../output/terminal.js';
import { contentOf, type ContentJson, summaryOf } from '../record-json.js';
import { recordIdOf, WHICH_RECORD } from '../which-record.js';

export const show: Command = {
  name: 'show',
  operands: '[<recordId>]',
  summary: 'Shows one record with its request, outcome and steps',
  options: WHICH_RECORD,
  arity: [0, 1],
  async run(invocation) {
    const { terminal, json, env } = invocation;
    const id = recordIdOf(invocation);
    const encryption = encryptionFrom(env, 'read');
    const service = await invocation.service();
    const record = await service.find(id);
    if (!record) {
      terminal.note(`There is no record ${id}`);
      return ExitCode.refused;
    }
    const steps = await service.steps(id);
    const shown = read(record, steps, new ContentReader(id, encryption));
    if (json) terminal.json(asJson(record, shown));
    else terminal.print(asText(terminal, record, shown));
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
    head: reader.read(record.responseHead, `head of ${record.responseCode}`),
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

function toJson(content: Content | null): ContentJson {
  if (!content) return null;
  return content.kind === 'plain' ? contentOf(content.bytes) : { encrypted: content.why };
}

/** What the library itself keeps as JSON. */
function parsed(content: Content | null): unknown {
  return content?.kind === 'plain' ? (JSON.parse(content.bytes.toString()) as unknown) : toJson(content);
}

function asText(terminal: Terminal, record: IdempotencyRecord, { request, head, body, steps }: Shown): string {
  const { status: of, attempt, takenFrom, completedAt } = record;
  const facts: [string, string][] = [
    ['record id', record.id],
    ['endpoint', record.endpoint],
    ['route', record.route ?? ''],
    ['status', status(terminal, of)],
    ['attempt', takenFrom ? `${attempt} (token ${record.token}, taken from ${takenFrom})` : String(attempt)],
    ['created', instant(record.createdAt)],
    ...(of === 'processing' || of === 'held' ? ([['lease until', instant(record.leaseUntil)]] as const) : []),
    ...(completedAt ? ([['completed', instant(completedAt)]] as const) : []),
    ['expires', of === 'held' ? 'not before it is resolved' : instant(record.expiresAt)],
    ['outcome', outcome(record.responseCode)],
  ].filter(([, value]) => value !== '') as [string, string][];
  const parts = [pairs(facts)];
  if (request) parts.push(section(terminal, 'request', textOf(request)));
  if (head) parts.push(section(terminal, 'response head', headText(record, head)));
  if (body) parts.push(section(terminal, 'response body', textOf(body)));
  if (steps.length > 0) {
    const rows = steps.map(({ step, result }) => [
      step.name,
      step.status,
      instant(step.updatedAt),
      result ? textOf(result) : '',
    ]);
    parts.push(section(terminal, 'steps', table(['NAME', 'STATUS', 'WRITTEN', 'RESULT'], rows)));
  }
  return parts.join('\n\n');
}

function section(terminal: Terminal, title: string, text: string): string {
  return `${terminal.style('bold', title)}\n${text}`;
}

function headText({ responseCode }: IdempotencyRecord, head: Content): string {
  if (head.kind === 'sealed' || responseCode === VALUE_CODE) return textOf(head);
  const { headers } = unpackHead(head.bytes);
  return headers.length > 0 ? headers.map(([name, value]) => `${name}: ${String(value)}`).join('\n') : '(no headers)';
}

function textOf(content: Content): string {
  return content.kind === 'plain' ? printable(content.bytes) : content.why;
}
