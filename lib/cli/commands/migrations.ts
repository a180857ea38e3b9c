import type { DataSource, QueryRunner } from 'typeorm';
import { IDEMPOTENCY_MIGRATIONS } from '../../store/migrations/index.js';
import type { Command, Invocation } from '../command.js';
import { messageOf } from '../database/connection.js';
import { executedMigrations } from '../database/executed-migrations.js';
import { ExitCode, refusal, usageError } from '../exit-codes.js';

export const migrations: Command = {
  name: 'migrations',
  operands: 'print|run|revert',
  summary: 'Prints the SQL that creates the tables, runs it as TypeORM migrations, or reverts the last one',
  options: {
    yes: {
      type: 'boolean',
      description: 'with revert: confirm that columns, or the tables with all keys, are dropped',
    },
  },
  arity: [1, 1],
  run(invocation) {
    switch (invocation.operands[0]) {
      case 'print':
        return print(invocation);
      case 'run':
        return run(invocation);
      case 'revert':
        return revert(invocation);
      default:
        throw usageError(
          `There is no migrations ${invocation.operands[0]}; there are print, run and revert`,
          'npx nestjs-idempotency migrations print',
        );
    }
  },
};

async function print({ terminal, json, ...invocation }: Invocation): Promise<ExitCode> {
  const statements = await statementsOf(invocation.unconnected());
  if (json) terminal.json({ statements });
  else terminal.print(statements.map((statement) => `${statement};`).join('\n'));
  return ExitCode.fine;
}

async function run({ terminal, json, ...invocation }: Invocation): Promise<ExitCode> {
  const executed = (await (await invocation.dataSource(true)).runMigrations()).map(({ name }) => name);
  if (json) terminal.json({ executed });
  else terminal.print(executed.length > 0 ? `Executed: ${executed.join(', ')}` : 'Nothing to do');
  return ExitCode.fine;
}

async function revert({ terminal, json, flag, ...invocation }: Invocation): Promise<ExitCode> {
  if (!flag('yes')) {
    throw refusal(
      'This reverts the last migration. The first one drops the tables, and with them every key: requests would run again. If so, add --yes',
    );
  }
  const dataSource = await invocation.dataSource();
  const before = await executedMigrations(dataSource);
  if (before.length > 0) await dataSource.undoLastMigration().catch(toRefusal);
  const reverted = before.slice(-1);
  if (json) terminal.json({ reverted });
  else if (reverted.length > 0) terminal.print(`Reverted: ${reverted.join(', ')}`);
  if (reverted.length > 0) return ExitCode.fine;
  terminal.note('No migration of this library has run on this database');
  return ExitCode.refused;
}

/** TypeORM reverts the last migration of all, and refuses where that is the application's own. */
function toRefusal(error: unknown): never {
  const message = messageOf(error);
  if (!/was found in the source code/.test(message)) throw error;
  throw refusal('The last migration of this database is not one of this library: revert those after it first');
}

/** What the migrations would do, without a database: a query runner notes the statements that it is given. */
async function statementsOf(dataSource: DataSource): Promise<string[]> {
  const statements: string[] = [];
  const runner = dataSource.createQueryRunner();
  const note = (sql: string) => Promise.resolve(statements.push(sql));
  runner.query = note as unknown as QueryRunner['query'];
  for (const migration of IDEMPOTENCY_MIGRATIONS) await new migration().up(runner);
  return statements;
}
