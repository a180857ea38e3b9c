import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { StoreUnavailableError } from '../engine/errors.js';
import { toMilliseconds } from '../options/duration.js';
import { isRetryable } from '../store/driver-errors.js';
import { saysMissingTables } from '../store/missing-tables.js';
import type { Command, Invocation, Options } from './command.js';
import { COMMANDS } from './commands/index.js';
import { connect, disconnect, messageOf, newDataSource, serviceOn } from './database/connection.js';
import type { DatabaseSettings } from './database/data-source-options.js';
import { redacting } from './database/redact.js';
import { CliError, ExitCode, usageError } from './exit-codes.js';
import { COMMON_OPTIONS, generalHelp, helpOf } from './help.js';
import type { Terminal } from './output/terminal.js';
import { durationOf } from './values.js';

const LONGEST_CONNECT = 10_000;

/** Carries out one call. Never rejects. */
export async function run(args: readonly string[], env: NodeJS.ProcessEnv, terminal: Terminal): Promise<ExitCode> {
  Logger.overrideLogger(false);
  let out = terminal;
  let command: Command | undefined;
  const opened: DataSource[] = [];
  try {
    const [name, ...rest] = args;
    if (name === undefined) throw usageError(generalHelp(COMMANDS), '');
    if (name === '--version') return say(out, version());
    if (name === '--help' || name === 'help') return say(out, generalHelp(COMMANDS));
    command = COMMANDS.find((one) => one.name === name);
    if (!command)
      throw usageError(`There is no command "${name}"; there are ${COMMANDS.map((one) => one.name).join(', ')}`);
    const { values, positionals } = parse(command, rest);
    if (values.help) return say(out, helpOf(command));
    const url = (values['database-url'] as string | undefined) ?? env.DATABASE_URL;
    out = terminal.redacting(redacting(url ?? ''));
    checkArity(command, positionals);
    return await command.run(invocationOf(values, positionals, url, env, out, opened));
  } catch (error) {
    return fail(out, error, command);
  } finally {
    await Promise.all(opened.map(disconnect));
  }
}

function invocationOf(
  values: Readonly<Record<string, string | boolean | undefined>>,
  operands: readonly string[],
  url: string | undefined,
  env: NodeJS.ProcessEnv,
  terminal: Terminal,
  opened: DataSource[],
): Invocation {
  const text = (option: string) => values[option] as string | undefined;
  const timeout = durationOf('timeout', text('timeout')) ?? '30s';
  const settings = (create = false): DatabaseSettings => {
    if (!url)
      throw usageError(
        'Which database? Set DATABASE_URL, or give --database-url',
        'export DATABASE_URL=postgres://user:password@host/database',
      );
    return {
      url,
      schema: text('schema'),
      entityPrefix: text('entity-prefix'),
      migrationsTable: text('migrations-table'),
      connectTimeoutMs: Math.min(toMilliseconds(timeout)!, LONGEST_CONNECT),
      create,
    };
  };
  let connected: Promise<DataSource> | undefined;
  const dataSource = (create?: boolean) =>
    (connected ??= connect(settings(create)).then((one) => {
      opened.push(one);
      return one;
    }));
  return {
    operands,
    env,
    terminal,
    json: values.json === true,
    text,
    flag: (option) => values[option] === true,
    hasDatabase: Boolean(url),
    dataSource,
    unconnected: () => newDataSource(settings()),
    service: async (more) => serviceOn(await dataSource(), { timeout, ...more }),
  };
}

function parse({ options }: Command, args: readonly string[]) {
  const config = Object.fromEntries(
    Object.entries({ ...COMMON_OPTIONS, ...options } satisfies Options).map(([name, { type }]) => [name, { type }]),
  );
  try {
    return parseArgs({ args: [...args], options: config, allowPositionals: true });
  } catch (error) {
    throw usageError(parsingError(error as Error & { code?: string }));
  }
}

/** Node explains at length how to pass an operand that begins with a dash, which no command takes. */
function parsingError({ code, message }: Error & { code?: string }): string {
  const option = /'(-[^' ]*)/.exec(message)?.[1];
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return `There is no option ${option}`;
  return message.endsWith('argument missing') ? `${option} needs a value` : message;
}

function checkArity({ operands, arity: [least, most] }: Command, given: readonly string[]): void {
  if (given.length < least) throw usageError(`Missing: ${operands}`);
  if (given.length > most) throw usageError(`Too many arguments: ${given.slice(most).join(' ')}`);
}

function say(terminal: Terminal, text: string): ExitCode {
  terminal.print(text);
  return ExitCode.fine;
}

function fail(terminal: Terminal, error: unknown, command: Command | undefined): ExitCode {
  if (error instanceof CliError) {
    terminal.note(error.message);
    const help = `npx nestjs-idempotency ${command ? `${command.name} ` : ''}--help`;
    const next = error.next ?? (error.exitCode === ExitCode.usage ? help : '');
    if (next !== '') terminal.note(`Type next: ${next}`);
    return error.exitCode;
  }
  const cause = error instanceof StoreUnavailableError && error.cause ? error.cause : error;
  terminal.note(messageOf(cause));
  if (saysMissingTables(cause)) {
    terminal.note(
      "The library's tables are missing here, or older than this version: run the migrations. Where the application has them " +
        'under another name, give --schema or --entity-prefix',
    );
    terminal.note('Type next: npx nestjs-idempotency migrations run (or migrations print, for the SQL)');
  }
  const isGone = isRetryable(cause) || messageOf(cause).startsWith('no answer within');
  return isGone ? ExitCode.unreachable : ExitCode.database;
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
