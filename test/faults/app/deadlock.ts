import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';

/** The codes of PostgreSQL and of MariaDB. */
export const DEADLOCKS = ['40P01', 'ER_LOCK_DEADLOCK'];

/** How many accounts there are, and how many of them one deadlock takes. */
export const ACCOUNTS = 2_000;
const TAKES = 40;

/**
 * Has a rival lock what the transaction is about to ask for, and then wait for what the transaction has. Returns the
 * statement that closes the circle. The database undoes the transaction, as a rule: the rival has changed more rows, which
 * counts on MariaDB; on PostgreSQL, the transaction that looks for deadlocks first loses.
 */
export async function provokeDeadlock(manager: EntityManager, dataSource: DataSource): Promise<string> {
  const first = Math.floor((Math.random() * ACCOUNTS) / TAKES) * TAKES;
  const rival = dataSource.createQueryRunner();
  const end = async () => {
    await rival.rollbackTransaction().catch(() => undefined);
    await rival.release().catch(() => undefined);
  };
  try {
    await rival.startTransaction();
    if (dataSource.options.type === 'postgres') await manager.query("SET LOCAL deadlock_timeout = '10ms'");
    await manager.query(`UPDATE lab_account SET n = n + 1 WHERE id = ${first}`);
    await rival.query(`UPDATE lab_account SET n = n + 1 WHERE id BETWEEN ${first + 1} AND ${first + TAKES - 2}`);
  } catch (error) {
    await end();
    throw error;
  }
  void rival.query(`UPDATE lab_account SET n = n + 1 WHERE id = ${first}`).then(end, end);
  await sleep(50);
  return `UPDATE lab_account SET n = n + 1 WHERE id = ${first + 1}`;
}
