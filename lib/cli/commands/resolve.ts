import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import type { IdempotencyService } from '../../service/idempotency.service.js';
import type { Resolution } from '../../service/resolution.js';
import type { IdempotencyRecord } from '../../store/entities/index.js';
import type { Command, Invocation } from '../command.js';
import { encryptionFrom, isSealed, keysMissing } from '../encryption-keys.js';
import { ExitCode, refusal, usageError } from '../exit-codes.js';
import { durationOf } from '../values.js';
import { recordIdOf, WHICH_RECORD } from '../which-record.js';

export const resolve: Command = {
  name: 'resolve',
  operands: '[<recordId>]',
  summary: 'Settles a held record: with its outcome, or to run again',
  options: {
    rerun: { type: 'boolean', description: 'it did not happen: the next request with its key runs' },
    status: { type: 'string', value: '<code>', description: 'it happened: HTTP status of the response to replay' },
    body: { type: 'string', value: '<text>', description: 'with --status: body of the response' },
    'body-file': {
      type: 'string',
      value: '<file>',
      description: 'with --status: read the body from this file; - is stdin',
    },
    header: {
      type: 'string',
      value: '<name: value>',
      description: 'with --status: headers, one per line; Content-Type defaults to JSON or text',
    },
    value: {
      type: 'string',
      value: '<json>',
      description: 'it happened: the value that IdempotencyService.run() returns',
    },
    retention: {
      type: 'string',
      value: '<time>',
      description: "how long the outcome is replayed; default: the operation's own retention",
    },
    ...WHICH_RECORD,
  },
  arity: [0, 1],
  async run(invocation) {
    const { terminal, json, text } = invocation;
    const id = recordIdOf(invocation);
    const resolution = await resolutionOf(invocation);
    const retention = durationOf('retention', text('retention'));
    const reading = await invocation.service();
    const record = await reading.find(id);
    if (!record) throw refusal(`There is no record ${id}`);
    const encryption = resolution === 'release' ? undefined : await sealedLike(record, reading, invocation);
    const writing = await invocation.service({ encryption });
    if (!(await writing.resolve(id, resolution, { retention }))) {
      const { status = 'deleted' } = (await reading.find(id)) ?? {};
      throw refusal(`The record is not held, but ${status}: ${id}`);
    }
    if (json) terminal.json({ recordId: id, resolved: true, status: resolution === 'release' ? 'failed' : 'done' });
    else terminal.print(`Resolved: ${id} ${resolution === 'release' ? 'runs again' : 'is done'}`);
    return ExitCode.fine;
  },
};

/**
 * An outcome has to be kept as the application keeps its own, or it could not be read back: sealed if the record is, and
 * where the record does not tell, if its neighbours are.
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
  const code = Number(status);
  if (!/^[2-5]\d\d$/.test(status)) throw usageError('--status must be an HTTP status from 200 to 599');
  const body = await bodyOf(invocation);
  return { status: code, headers: headersOf(text('header')), ...(body !== undefined && { body }) };
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
  if (file === '-') return readAll(process.stdin);
  return readFile(file).catch((error: Error) => {
    throw usageError(`--body-file: ${error.message}`);
  });
}

/** Several headers stand in one option, a line each. */
function headersOf(text = ''): Record<string, string> {
  return Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*?)\s*$/.exec(line) ?? [];
        if (name === undefined) throw usageError("--header must look like 'Location: /payments/1'");
        return [name, value];
      }),
  );
}
