import { equal, ok } from 'node:assert/strict';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { COMMANDS } from '../../lib/cli/commands/index.js';
import { CliError, ExitCode } from '../../lib/cli/exit-codes.js';
import { COMMON_OPTIONS } from '../../lib/cli/help.js';
import type { Invocation } from '../../lib/cli/command.js';
import { Terminal } from '../../lib/cli/output/terminal.js';
import { run } from '../../lib/cli/run.js';
import { durationOf, wholeNumber } from '../../lib/cli/values.js';
import { recordIdOf } from '../../lib/cli/which-record.js';
import { digestIdentity } from '../../lib/engine/identity.js';
import { toMilliseconds } from '../../lib/options/duration.js';
import { CALLS, DURATIONS, NUMBERS } from './corpus/cli.js';
import { property, type Property, textOf } from './property.js';

/** Those that neither write to the folder that they are called in, nor load an application from it. */
const TRIED = COMMANDS.filter(({ name }) => name !== 'init' && name !== 'doctor');

const SECRET = 'hunter2-in-the-url';
/** None of them leads to a database. */
const URLS = [
  undefined,
  'sqlite:/nonexistent/records.sqlite',
  `postgres://ada:${SECRET}@127.0.0.1:1/records`,
  'oracle://host/db',
  'not a url',
  '',
];

const value = fc.oneof(
  fc.string({ maxLength: 12 }),
  textOf('0123456789.msh-e+ ', 6),
  fc.constantFrom(
    'held',
    'done',
    '1h',
    '24h',
    '0',
    '-1',
    '201',
    '999',
    'null',
    '{"a":1}',
    '{"a":',
    'X: y',
    'X:y\nZ: 1',
    '2026-03-01',
    '',
  ),
  fc.uuid(),
);
const call = fc.constantFrom(...TRIED).chain((command) => {
  const names = Object.keys({ ...COMMON_OPTIONS, ...command.options })
    .map((usage) => usage.split(' ')[0])
    .filter((name) => name !== 'database-url' && name !== 'body-file');
  const option = fc
    .tuple(fc.oneof(fc.constantFrom(...names), textOf('abcde-', 6)), fc.option(value), fc.boolean())
    .map(([name, text, joined]) =>
      text === null ? [`--${name}`] : joined ? [`--${name}=${text}`] : [`--${name}`, text],
    );
  return fc
    .tuple(
      fc.array(fc.oneof({ weight: 3, arbitrary: option }, { weight: 1, arbitrary: value.map((text) => [text]) }), {
        maxLength: 4,
      }),
    )
    .map(([parts]) => [command.name, ...parts.flat()]);
});

async function called(args: readonly string[], url: string | undefined) {
  const [out, errors]: [string[], string[]] = [[], []];
  const into = (texts: string[]) =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) => (texts.push(chunk.toString()), done()),
    }) as unknown as NodeJS.WriteStream;
  const env = url === undefined ? {} : { DATABASE_URL: url };
  const exitCode = await run(args, env, new Terminal(into(out), into(errors), env));
  return { exitCode, stdout: out.join(''), stderr: errors.join('') };
}

/** An invocation with these options alone. */
const invocation = ([operand]: readonly string[], options: Readonly<Record<string, string | undefined>>) =>
  ({ operand, text: (name: string) => options[name] }) as unknown as Invocation;

/** What a usage error says, or what was returned. */
function outcomeOf<T>(work: () => T): T | 'refused' {
  try {
    return work();
  } catch (error) {
    ok(error instanceof CliError && error.exitCode === ExitCode.usage, String(error));
    return 'refused';
  }
}

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const unit = fc.constantFrom(...(Object.keys(UNITS) as (keyof typeof UNITS)[]));

export const cli: readonly Property[] = [
  property(
    'whatever is typed, the command line answers with an exit code, and with words',
    [call, fc.constantFrom(...URLS)],
    async (args, url) => {
      const { exitCode, stdout, stderr } = await called(args, url);
      ok(Object.values(ExitCode).includes(exitCode), String(exitCode));
      ok(!/^\s+at /m.test(stderr) && !/\b(?:Type|Range|Reference|Syntax)Error\b/.test(stderr), stderr);
      ok(!stdout.includes(SECRET) && !stderr.includes(SECRET), 'a password is printed');
      if (exitCode === ExitCode.fine) return;
      ok(stderr.trim() !== '', 'nothing is said');
      equal(stdout, '');
    },
    CALLS,
  ),
  property(
    'a number is a whole one above zero',
    [
      fc.oneof(
        fc.integer().map(String),
        textOf('0123456789+-.eEx ', 8),
        fc.nat().map((number) => `00${number}`),
      ),
    ],
    (text) => {
      const isOne = /^[0-9]+$/.test(text) && BigInt(text) > 0n && BigInt(text) <= BigInt(Number.MAX_SAFE_INTEGER);
      equal(
        outcomeOf(() => wholeNumber('limit', text)),
        isOne ? Number(BigInt(text)) : 'refused',
      );
    },
    NUMBERS,
  ),
  property(
    'a time is as long as its number and its unit say',
    [fc.integer({ min: 1, max: 1_000_000 }), unit],
    (number, name) => {
      equal(toMilliseconds(durationOf('retention', `${number}${name}`)), number * UNITS[name]);
      equal(toMilliseconds(durationOf('retention', String(number))), number);
    },
  ),
  property(
    'what is no time is refused, and every other is above zero',
    [fc.oneof(fc.string({ maxLength: 8 }), textOf('0123456789.msh d-', 6))],
    (text) => {
      const ms = outcomeOf(() => toMilliseconds(durationOf('retention', text)));
      // Fifteen digits are more days than there will be.
      const isOne = /^[0-9]{1,15}(?:\.[0-9]{1,15})?(?:ms|[smhd])$/.test(text) || /^[0-9]{1,308}$/.test(text);
      equal(ms !== 'refused', isOne && Number.parseFloat(text) > 0);
      ok(ms === 'refused' || (ms! > 0 && Number.isFinite(ms)), String(ms));
    },
    DURATIONS,
  ),
  property(
    'a record is named by its id in any case, or by all of what the client sent',
    [fc.uuid(), fc.boolean(), fc.string({ minLength: 1 }), fc.string(), fc.option(fc.string())],
    (id, upper, key, endpoint, scope) => {
      equal(recordIdOf(invocation([upper ? id.toUpperCase() : id], {})), id);
      const options = { key, endpoint, ...(scope !== null && { scope }) };
      equal(recordIdOf(invocation([], options)), digestIdentity({ scope: scope ?? '', endpoint, key }).recordId);
      equal(
        outcomeOf(() => recordIdOf(invocation([id], { key }))),
        'refused',
      );
      equal(
        outcomeOf(() => recordIdOf(invocation([], { key }))),
        'refused',
      );
    },
  ),
  property('what is no id is refused', [fc.oneof(fc.string(), textOf('0123456789abcdef-', 36))], (text) => {
    const isOne = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);
    equal(
      outcomeOf(() => recordIdOf(invocation([text], {}))),
      isOne ? text.toLowerCase() : 'refused',
    );
  }),
];
