import type { QueryRunner } from 'typeorm';
import { IDEMPOTENCY_MIGRATIONS } from '../../store/migrations/index.js';
import type { Command, Invocation } from '../command.js';
import { messageOf } from '../database/connection.js';
import { executedMigrations } from '../database/executed-migrations.js';
import { ExitCode, refusal, usageError } from '../exit-codes.js';

const ACTIONS: Readonly<Record<string, (invocation: Invocation) => Promise<void>>> = { print, run, revert };

export const migrations: Command = {
  name: 'migrations',
  operand: 'print|run|revert',
  summary: 'Prints the SQL that creates the tables, runs it as TypeORM migrations, or reverts the last one',
  options: { yes: 'with revert: confirm that columns, or the tables with all keys, are dropped' },
  async run(invocation) {
    const name = invocation.operand!;
    if (!Object.hasOwn(ACTIONS, name)) {
      throw usageError(
        `There is no migrations ${name}; there are print, run and revert`,
        'npx nestjs-idempotency migrations print',
      );
    }
    await ACTIONS[name](invocation);
    return ExitCode.fine;
  },
};

/** Needs no database: a query runner notes the statements instead of sending them. */
async function print({ unconnected, result }: Invocation): Promise<void> {
  const statements: string[] = [];
  const runner = unconnected().createQueryRunner();
  const note = (sql: string) => Promise.resolve(statements.push(sql));
  runner.query = note as unknown as QueryRunner['query'];
  for (const migration of IDEMPOTENCY_MIGRATIONS) await new migration().up(runner);
  result({ statements }, statements.map((statement) => `${statement};`).join('\n'));
}

async function run({ dataSource, result }: Invocation): Promise<void> {
  const executed = (await (await dataSource(true)).runMigrations()).map(({ name }) => name);
  result({ executed }, executed.length > 0 ? `Executed: ${executed.join(', ')}` : 'Nothing to do');
}

async function revert({ dataSource: connect, flag, result }: Invocation): Promise<void> {
  if (!flag('yes')) {
    throw refusal(
      'This reverts the last migration. The first one drops the tables, and with them every key: requests would run again. If so, add --yes',
    );
  }
  const dataSource = await connect();
  const reverted = (await executedMigrations(dataSource)).slice(-1);
  if (reverted.length > 0) await dataSource.undoLastMigration().catch(toRefusal);
  result({ reverted }, reverted.length > 0 ? `Reverted: ${reverted.join(', ')}` : '');
  if (reverted.length === 0) throw refusal('No migration of this library has run on this database');
}

/** TypeORM reverts the last migration of all, and throws where that is one of the application's. */
function toRefusal(error: unknown): never {
  const message = messageOf(error);
  if (!/was found in the source code/.test(message)) throw error;
  throw refusal('The last migration of this database is not one of this library: revert those after it first');
}
