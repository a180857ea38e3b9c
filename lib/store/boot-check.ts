import { randomUUID } from 'node:crypto';
import type { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { Claim, RecordStore } from '../engine/ports/record-store.js';

import { assertEntities, isInitialized } from './data-source.js';
import { withDeadline } from './deadline.js';
import { dialectNameOf } from './dialects/dialect-name.js';
import { explainStore } from './missing-tables.js';
import { unsupported, versionQuery } from './server-version.js';

/** What operators see of a check whose process died before it had deleted its record. */
const ENDPOINT = 'nestjs-idempotency: boot check';

/** A record that was not deleted counts as abandoned, and expires, after so long. */
const LEASE_MS = 1_000;
const RETENTION_MS = 60_000;

/**
 * Finds out at boot what would otherwise be a 503 to the first client: a claim, a step and their deletion on the real
 * tables show missing tables, columns and rights, and a database that takes no writes.
 *
 * What the database refuses is logged and does not fail the boot: a database may be down for a moment, and a process
 * that reads alone may be connected to a replica.
 *
 * @throws Error where no statement can ever work
 */
export async function checkAtBoot(
  dataSource: DataSource,
  store: Pick<RecordStore, 'claim' | 'discard' | 'steps'>,
  { logger, timeoutMs }: { logger: Logger; timeoutMs: number },
): Promise<void> {
  if (!isInitialized(dataSource)) {
    logger.warn('The data source is not initialized: requests get 503 until its initialize() has been called');
    return;
  }
  assertEntities(dataSource);
  let attempt = 'ask for the version';
  try {
    const { version, preparesStatements } = await withDeadline(askServer(dataSource), timeoutMs);
    if (!preparesStatements) throw new MysqlPackageError();
    const problem = unsupported(dialectNameOf(dataSource), version);
    if (problem) return logger.error(problem);
    attempt = 'claim a record';
    const { recordId, owner, token } = await store.claim(aClaim());
    const ownership = { recordId, owner, token };
    attempt = 'record a step';
    // By no owner, which writes no row: a record with a step never expires, should this process die before it is deleted.
    await store.steps.begin({ ...ownership, token: token + 1 }, 'boot check').catch(async (error: unknown) => {
      await store.discard(ownership).catch(() => undefined);
      throw error;
    });
    attempt = 'delete a record';
    await store.discard(ownership);
  } catch (error) {
    if (error instanceof MysqlPackageError) throw error;
    logger.error(`The boot check could not ${attempt}: ${explainStore(error)}`);
  }
}

class MysqlPackageError extends Error {
  override readonly name = 'MysqlPackageError';

  constructor() {
    super(
      'IdempotencyModule: the data source uses the package `mysql`, which cannot prepare statements. Install `mysql2`, ' +
        'and remove `mysql`, or `driver` from the options of TypeOrmModule.forRoot()',
    );
  }
}

/** On one connection of the data source's own. */
async function askServer(dataSource: DataSource): Promise<{ version: string; preparesStatements: boolean }> {
  const dialect = dialectNameOf(dataSource);
  const runner = dataSource.createQueryRunner('master');
  try {
    const connection = (await runner.connect()) as { execute?: unknown };
    // TypeORM 0.3 prefers the package `mysql` where both are installed, and any version takes it as the option `driver`.
    const preparesStatements = dialect !== 'mysql' || typeof connection.execute === 'function';
    const [{ version }] = (await runner.query(versionQuery(dialect))) as { version: string }[];
    return { version, preparesStatements };
  } finally {
    await runner.release();
  }
}

function aClaim(): Claim {
  return {
    recordId: randomUUID(),
    owner: randomUUID(),
    endpoint: ENDPOINT,
    route: null,
    scopeDigest: null,
    fingerprint: Buffer.alloc(32),
    binding: null,
    request: null,
    leaseMs: LEASE_MS,
    retentionMs: RETENTION_MS,
    maxAttempts: 1,
    holdOnCrash: false,
    forgettable: true,
  };
}
