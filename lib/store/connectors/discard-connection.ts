import type { QueryRunner } from 'typeorm';
import type { Connector } from './connector.js';
import { poisonsConnection } from './poisoned-connections.js';

/** A driver's connection. The `end` of mysql2 returns it to its pool. SQLite's has neither method, and stays open. */
interface RawConnection {
  destroy?(): void;
  end?(): Promise<void>;
  readonly inTransaction?: boolean;
  exec?(sql: string): unknown;
}

const poisoned = new WeakSet<QueryRunner>();

/**
 * Notes an error of a transaction's statement, because a handler may catch it or throw another one. After a failover, closes
 * idle connections at once.
 */
export function noteError(connector: Connector, runner: QueryRunner, error: unknown): void {
  const poison = poisonsConnection(error);
  // A handler's own slow statement does not mean that its connection is broken.
  if (!poison || poison.ifLasting) return;
  poisoned.add(runner);
  if (poison.others) connector.dropIdle?.();
}

export function isPoisoned(runner: QueryRunner): boolean {
  return poisoned.has(runner);
}

/** Returns a transaction's connection to the data source's pool after an error, or closes it if it is broken for good. */
export async function releaseAfter(error: unknown, connector: Connector, runner: QueryRunner): Promise<void> {
  noteError(connector, runner, error);
  if (isPoisoned(runner)) await discardConnection(runner);
  await runner.release();
}

/** Closes a transaction's connection. Its pool notices when it is released, and drops it. SQLite's only one leaves the transaction. */
export async function discardConnection(runner: QueryRunner): Promise<void> {
  const connection = (await runner.connect().catch(() => undefined)) as RawConnection | undefined;
  if (connection?.destroy) connection.destroy();
  else if (connection?.end) void connection.end().catch(() => undefined);
  else if (connection?.inTransaction) connection.exec!('ROLLBACK');
}
