import type { Command, Options } from './command.js';
import { pairs } from './output/table.js';

export const COMMON_OPTIONS: Options = {
  'database-url <url>': 'postgres://, mysql://, mariadb:// or sqlite:<file>; default: $DATABASE_URL',
  'schema <name>': "PostgreSQL schema of the tables: the data source's `schema`",
  'entity-prefix <text>': "prefix of the table names: the data source's `entityPrefix`",
  'migrations-table <name>': "table of executed migrations: the data source's `migrationsTableName`",
  'timeout <time>': 'time limit of one statement; default: 30s',
  json: 'print JSON to stdout',
  help: 'print this help; also -h',
};

const EXIT_CODES =
  'Exit codes: 0 success; 1 nothing found, or refused; 2 wrong usage; 3 database unreachable, or its driver missing; 4 database error';

/** @param columns the width of the terminal */
export function generalHelp(commands: readonly Command[], columns: number): string {
  return [
    'nestjs-idempotency <command> [options]',
    pairs(
      commands.map(({ name, operand, summary }) => [`  ${name} ${operand}`.trimEnd(), summary]),
      columns,
    ),
    `Options of every command:\n${described(COMMON_OPTIONS, columns)}`,
    EXIT_CODES,
    'Help on a command: nestjs-idempotency <command> --help\nExamples and messages: docs/cli.md of this package',
  ].join('\n\n');
}

export function helpOf({ name, operand, summary, options, exitCodes }: Command, columns: number): string {
  return [
    `nestjs-idempotency ${name} ${operand}`.trimEnd(),
    summary,
    ...(Object.keys(options).length > 0 ? [described(options, columns)] : []),
    described(COMMON_OPTIONS, columns),
    exitCodes ?? EXIT_CODES,
  ].join('\n\n');
}

function described(options: Options, columns: number): string {
  return pairs(
    Object.entries(options).map(([usage, description]) => [`  --${usage}`, description]),
    columns,
  );
}
