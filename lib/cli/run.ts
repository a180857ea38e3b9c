import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { StoreRefusedError, StoreUnavailableError } from '../engine/errors.js';
import { toMilliseconds } from '../options/duration.js';
import { isRetryable } from '../store/driver-errors.js';
import { saysMissingTables } from '../store/missing-tables.js';
import type { Command, Invocation } from './command.js';
import { COMMANDS } from './commands/index.js';
import { connect, disconnect, limitStatements, messageOf, newDataSource, serviceOn } from './database/connection.js';
import type { DatabaseSettings } from './database/data-source-options.js';
import { redacting } from './database/redact.js';
import { CliError, ExitCode, noDatabase, usageError } from './exit-codes.js';
import { COMMON_OPTIONS, generalHelp, helpOf } from './help.js';
import type { Terminal } from './output/terminal.js';
import { durationOf } from './values.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { readonly version: string };

/** A host that drops packets answers nothing: the operator should not wait for the time limit of a long statement. */
const MAX_CONNECT_MS = 10_000;

/** Runs one call of the program. Never rejects. */
export async function run(args: readonly string[], env: NodeJS.ProcessEnv, terminal: Terminal): Promise<ExitCode> {
  Logger.overrideLogger(false);
  let out = terminal;
  let command: Command | undefined;
  const opened: DataSource[] = [];
  try {
    const [name, ...rest] = args[0] === 'help' && args.length > 1 ? [args[1], '--help'] : args;
    const help = () => generalHelp(COMMANDS, out.columns);
    if (name === undefined) throw usageError(help(), '');
    if (name === '--version') return say(out, version);
    if (['--help', '-h', 'help'].includes(name)) return say(out, help());
    command = COMMANDS.find((one) => one.name === name);
    if (!command)
      throw usageError(`There is no command "${name}"; there are ${COMMANDS.map((one) => one.name).join(', ')}`);
    const { values, positionals } = parse(command, rest);
    if (values.help) return say(out, helpOf(command, out.columns));
    const url = (values['database-url'] as string | undefined) ?? env.DATABASE_URL;
    out = terminal.redacting(redacting(url ?? ''));
    checkOperands(command, positionals);
    return await command.run(invocationOf(values, positionals[0], url, env, out, opened));
  } catch (error) {
    return fail(out, error, command);
  } finally {
    await Promise.all(opened.map(disconnect));
  }
}

function invocationOf(
  values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>,
  operand: string | undefined,
  url: string | undefined,
  env: NodeJS.ProcessEnv,
  terminal: Terminal,
  opened: DataSource[],
): Invocation {
  const text = (option: string) =>
    (Array.isArray(values[option]) ? values[option].join('\n') : values[option]) as string | undefined;
  const timeout = durationOf('timeout', text('timeout')) ?? '30s';
  const settings = (create = false): DatabaseSettings => {
    if (!url) throw noDatabase();
    return {
      url,
      schema: text('schema'),
      entityPrefix: text('entity-prefix'),
      migrationsTable: text('migrations-table'),
      connectTimeoutMs: Math.min(toMilliseconds(timeout)!, MAX_CONNECT_MS),
      create,
    };
  };
  let connected: Promise<DataSource> | undefined;
  const dataSource = (create?: boolean) =>
    (connected ??= connect(settings(create)).then((one) => {
      opened.push(one);
      return one;
    }));
  const json = values.json === true;
  return {
    operand,
    env,
    terminal,
    json,
    text,
    flag: (option) => values[option] === true,
    result: (value, said) => {
      if (json) terminal.json(value);
      else if (said !== '') terminal.print(said);
    },
    hasDatabase: Boolean(url),
    dataSource,
    unconnected: () => newDataSource(settings()),
    service: async (more) =>
      serviceOn(limitStatements(await dataSource(), toMilliseconds(timeout)!), { timeout, ...more }),
  };
}

function parse({ options }: Command, args: readonly string[]) {
  const config = Object.fromEntries(
    Object.keys({ ...COMMON_OPTIONS, ...options }).map((usage) => {
      const [name, value] = usage.split(' ');
      const type: 'string' | 'boolean' = value ? 'string' : 'boolean';
      return [name, { type, multiple: usage.endsWith('...'), ...(name === 'help' && { short: 'h' }) }];
    }),
  );
  try {
    return parseArgs({ args: [...args], options: config, allowPositionals: true });
  } catch (error) {
    throw usageError(parsingError(error as Error & { code?: string }));
  }
}

/** Node's own message explains how to pass an operand that begins with a dash: no command has one. */
function parsingError({ code, message }: Error & { code?: string }): string {
  const option = /'(-[^' ]*)/.exec(message)?.[1];
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return `There is no option ${option}`;
  return message.endsWith('argument missing') ? `${option} needs a value` : message;
}

function checkOperands({ operand }: Command, given: readonly string[]): void {
  const most = operand === '' ? 0 : 1;
  if (given.length > most) throw usageError(`Too many arguments: ${given.slice(most).join(' ')}`);
  if (given.length < most && !operand.startsWith('[')) throw usageError(`Missing: ${operand}`);
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
  const isOfStore = error instanceof StoreUnavailableError || error instanceof StoreRefusedError;
  const cause = isOfStore && error.cause ? error.cause : error;
  terminal.note(messageOf(cause));
  if (saysMissingTables(cause)) {
    terminal.note(
      "The library's tables are missing here, or older than this version: run the migrations. Where the application has them " +
        'under another name, give --schema or --entity-prefix',
    );
    terminal.note('Type next: npx nestjs-idempotency migrations run (or migrations print, for the SQL)');
  }
  const isSilent = messageOf(cause).startsWith('no answer within');
  if (isSilent) terminal.note('A table that is large, or locked, takes longer: give a longer --timeout, such as 5m');
  const isGone = isRetryable(cause) || isSilent;
  return isGone ? ExitCode.unreachable : ExitCode.database;
}
