import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { IdempotencyService } from '../../service/idempotency.service.js';
import { answersOverHttp, fits, type Resolution } from '../../service/resolution.js';
import type { IdempotencyRecord } from '../../store/entities/index.js';
import type { Command, Invocation } from '../command.js';
import { encryptionFrom, isSealed, keysMissing } from '../encryption-keys.js';
import { ExitCode, refusal, usageError } from '../exit-codes.js';
import { headerFault } from '../header-fault.js';
import { durationOf } from '../values.js';
import { noSuchRecord, recordIdOf, WHICH_RECORD } from '../which-record.js';

export const resolve: Command = {
  name: 'resolve',
  operand: '[<recordId>]',
  summary: 'Settles a held record: with its outcome, or to run again',
  options: {
    rerun: 'it did not happen: the next request with its key runs',
    'status <code>': 'it happened: HTTP status of the response to replay',
    'body <text>': 'with --status: body of the response',
    'body-file <file>': 'with --status: read the body from this file; - is stdin',
    'header <name: value>...': 'with --status: a header; can be given again. Content-Type defaults to JSON or text',
    'value <json>': 'it happened: the value that IdempotencyService.run() returns',
    'retention <time>': "how long the outcome is replayed; default: the operation's own retention",
    ...WHICH_RECORD,
  },
  async run(invocation) {
    const { text, result } = invocation;
    const id = recordIdOf(invocation);
    const resolution = await resolutionOf(invocation);
    const retention = durationOf('retention', text('retention'));
    const reading = await invocation.service();
    const record = await reading.find(id);
    if (!record) throw noSuchRecord(id, invocation);
    assertFits(resolution, record);
    const encryption = resolution === 'release' ? undefined : await sealedLike(record, reading, invocation);
    const writing = await invocation.service({ encryption });
    if (!(await writing.resolve(id, resolution, { retention }))) {
      const { status = 'deleted' } = (await reading.find(id)) ?? {};
      throw refusal(`The record is not held, but ${status}: ${id}`);
    }
    const [status, said] = resolution === 'release' ? ['failed', 'runs again'] : ['done', 'is done'];
    result({ recordId: id, resolved: true, status }, `Resolved: ${id} ${said}`);
    return ExitCode.fine;
  },
};

/**
 * Returns the keys to seal an outcome with, if the application seals its own: it could not read an outcome of the other kind. The record
 * shows which it is, or, if it stores nothing yet, recent records do.
 */
async function sealedLike(record: IdempotencyRecord, service: IdempotencyService, { env }: Invocation) {
  const own = isSealed(record, await service.steps(record.id));
  const sealed =
    own ?? (await service.list({ limit: 100 })).map((other) => isSealed(other)).find((one) => one !== undefined);
  if (sealed === false) return undefined;
  const encryption = encryptionFrom(env, 'write');
  if (sealed && !encryption) throw keysMissing();
  return encryption;
}

/** @throws CliError for an outcome of the other kind, which the operation's retries could not read */
function assertFits(resolution: Resolution, record: IdempotencyRecord): void {
  if (fits(resolution, record)) return;
  throw usageError(
    answersOverHttp(record)
      ? 'The operation answers over HTTP: give --status instead of --value'
      : 'The operation answers with a value: give --value instead of --status',
  );
}

async function resolutionOf(invocation: Invocation): Promise<Resolution> {
  const { text } = invocation;
  const [status, value] = [text('status'), text('value')];
  const given = [invocation.flag('rerun'), status !== undefined, value !== undefined].filter(Boolean).length;
  if (given !== 1)
    throw usageError(
      'Give one of --rerun, --status and --value',
      'npx nestjs-idempotency resolve <recordId> --status 201 --body \'{"id":"pay_81"}\'',
    );
  const ofResponse = ['body', 'body-file', 'header'].find((option) => text(option) !== undefined);
  if (status === undefined && ofResponse) throw usageError(`--${ofResponse} goes with --status`);
  if (value !== undefined) return { value: valueOf(value) };
  if (status === undefined) return 'release';
  if (!/^[2-5]\d\d$/.test(status)) throw usageError('--status must be an HTTP status from 200 to 599');
  const headers = headersOf(text('header') ?? '');
  const body = await bodyOf(invocation);
  return { status: Number(status), headers, ...(body !== undefined && { body }) };
}

function valueOf(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    throw usageError('--value must be JSON');
  }
}

async function bodyOf({ text }: Invocation): Promise<string | Buffer | undefined> {
  const [body, file] = [text('body'), text('body-file')];
  if (body !== undefined && file !== undefined) throw usageError('Give --body or --body-file, not both');
  if (file === undefined) return body;
  if (file === '-') return buffer(process.stdin);
  return readFile(file).catch((error: Error) => {
    throw usageError(`--body-file: ${error.message}`);
  });
}

/** @param lines a header on each, as they were first given: in one option */
function headersOf(lines: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines.split('\n').filter((one) => one.trim() !== '')) {
    const [, name, value] = /^([^:]+):\s*(.*?)\s*$/.exec(line) ?? ['', ''];
    const fault = headerFault(name, value);
    if (fault === 'malformed') throw usageError("--header must look like 'Location: /payments/1'");
    if (fault) throw usageError(`--header cannot have ${name}: each replay has its own`);
    headers[name] = value;
  }
  return headers;
}
