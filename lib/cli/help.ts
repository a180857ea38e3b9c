import type { Command, Options } from './command.js';
import { pairs } from './output/table.js';

export const COMMON_OPTIONS: Options = {
  'database-url': {
    type: 'string',
    value: '<url>',
    description: 'postgres://, mysql://, mariadb:// or sqlite:file; by default $DATABASE_URL',
  },
  schema: { type: 'string', value: '<name>', description: "the data source's `schema` (PostgreSQL)" },
  'entity-prefix': { type: 'string', value: '<text>', description: "the data source's `entityPrefix`" },
  'migrations-table': { type: 'string', value: '<name>', description: "the data source's `migrationsTableName`" },
  timeout: { type: 'string', value: '<time>', description: 'how long one statement may take; 30s' },
  json: { type: 'boolean', description: 'print JSON' },
  help: { type: 'boolean', description: 'print this' },
};

const EXIT_CODES = `Exit codes: 0 fine; 1 nothing found, or refused; 2 usage; 3 database or its driver out of reach; 4 database error`;

export function generalHelp(commands: readonly Command[]): string {
  return [
    'nestjs-idempotency <command> [options]',
    pairs(commands.map(({ name, operands, summary }) => [`  ${name} ${operands}`.trimEnd(), summary])),
    `Options of every command:\n${described(COMMON_OPTIONS)}`,
    `${EXIT_CODES}\nMore on a command: nestjs-idempotency <command> --help`,
  ].join('\n\n');
}

export function helpOf({ name, operands, summary, options }: Command): string {
  return [
    `nestjs-idempotency ${name} ${operands}`.trimEnd(),
    summary,
    ...(Object.keys(options).length > 0 ? [described(options)] : []),
    described(COMMON_OPTIONS),
    EXIT_CODES,
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
