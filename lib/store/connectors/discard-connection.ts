import type { DataSource, QueryRunner } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import { sharedMysqlPool } from './mysql-pool.js';
import { poisonsConnection } from './poisoned-connections.js';
import { sharedPostgresPool } from './postgres-pool.js';

/** A driver's connection. mysql2's `end` gives it back; SQLite's has neither, and stays. */
interface RawConnection {
  destroy?(): void;
  end?(): Promise<void>;
}

const poisoned = new WeakSet<QueryRunner>();

/**
 * Notes what a statement of a transaction met, whatever becomes of the error: a handler may catch it, or throw one of its
 * own. After a failover, idle connections are closed at once.
 */
export function noteError(runner: QueryRunner, error: unknown): void {
  const poison = poisonsConnection(error);
  // A handler's own slow statement says nothing of its connection.
  if (!poison || poison.ifLasting) return;
  poisoned.add(runner);
  if (poison.others) closeIdle(runner.connection);
}

/** Returns whether the connection of a transaction cannot work again. */
export function isPoisoned(runner: QueryRunner): boolean {
  return poisoned.has(runner);
}

/** Gives a transaction's connection back to the data source's pool after an error, or closes it if it cannot work again. */
export async function releaseAfter(error: unknown, runner: QueryRunner): Promise<void> {
  noteError(runner, error);
  if (isPoisoned(runner)) await discardConnection(runner);
  await runner.release();
}

/** Closes a transaction's connection. Its pool takes no notice until it is released, and then drops it. */
export async function discardConnection(runner: QueryRunner): Promise<void> {
  const connection = (await runner.connect().catch(() => undefined)) as RawConnection | undefined;
  if (connection?.destroy) connection.destroy();
  else void connection?.end?.().catch(() => undefined);
}

function closeIdle(dataSource: DataSource): void {
  const dialect = dialectNameOf(dataSource);
  if (dialect === 'postgres') sharedPostgresPool(dataSource).closeIdle();
  if (dialect === 'mysql') sharedMysqlPool(dataSource).closeIdle();
}
