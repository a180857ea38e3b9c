import type { Command, Options } from './command.js';
import { pairs } from './output/table.js';

export const COMMON_OPTIONS: Options = {
  'database-url': {
    type: 'string',
    value: '<url>',
    description: 'postgres://, mysql://, mariadb:// or sqlite:<file>; default: $DATABASE_URL',
  },
  schema: {
    type: 'string',
    value: '<name>',
    description: "PostgreSQL schema of the tables: the data source's `schema`",
  },
  'entity-prefix': {
    type: 'string',
    value: '<text>',
    description: "prefix of the table names: the data source's `entityPrefix`",
  },
  'migrations-table': {
    type: 'string',
    value: '<name>',
    description: "table of executed migrations: the data source's `migrationsTableName`",
  },
  timeout: { type: 'string', value: '<time>', description: 'time limit of one statement; default: 30s' },
  json: { type: 'boolean', description: 'print JSON to stdout' },
  help: { type: 'boolean', description: 'print this help' },
};

const EXIT_CODES = `Exit codes: 0 success; 1 nothing found, or refused; 2 wrong usage; 3 database unreachable, or its driver missing; 4 database error`;

export function generalHelp(commands: readonly Command[]): string {
  return [
    'nestjs-idempotency <command> [options]',
    pairs(commands.map(({ name, operands, summary }) => [`  ${name} ${operands}`.trimEnd(), summary])),
    `Options of every command:\n${described(COMMON_OPTIONS)}`,
    `${EXIT_CODES}\nHelp on a command: nestjs-idempotency <command> --help`,
  ].join('\n\n');
}

export function helpOf({ name, operands, summary, options, exitCodes }: Command): string {
  return [
    `nestjs-idempotency ${name} ${operands}`.trimEnd(),
    summary,
    ...(Object.keys(options).length > 0 ? [described(options)] : []),
    described(COMMON_OPTIONS),
    exitCodes ?? EXIT_CODES,
  ].join('\n\n');
}

function described(options: Options): string {
  return pairs(
    Object.entries(options).map(([name, { value, description }]) => [
      `  --${name}${value ? ` ${value}` : ''}`,
      description,
    ]),
  );
}
