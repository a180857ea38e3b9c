import { EventEmitter } from 'node:events';
import type { Execution } from 'nestjs-idempotency';
import { type ClientBase, Pool, type PoolConfig } from 'pg';

type Query = string | { text: string };

/**
 * The connection of a transactional operation, as a pool of one. A transaction on it is a savepoint: only the operation itself
 * commits. Make one for each call of the handler.
 */
export async function operationPool(execution: Execution): Promise<Pool> {
  const runner = execution.manager.queryRunner!;
  const connection = (await runner.connect()) as ClientBase;
  const send = connection.query.bind(connection) as (...args: unknown[]) => unknown;

  /** What `pg` needs of a client in a pool. */
  class OperationClient extends EventEmitter {
    connect(done: () => void): void {
      done();
    }

    query(query: Query, ...rest: unknown[]): unknown {
      // By then the connection may be another request's.
      if (!runner.isTransactionActive) throw new Error('The transaction of this operation has ended');
      if (typeof query === 'string') return send(asSavepoint(query), ...rest);
      const text = asSavepoint(query.text);
      return send(text === query.text ? query : { ...query, text }, ...rest);
    }

    /** The operation gives the connection back. */
    end(done: () => void): void {
      done();
    }
  }

  const Client = OperationClient as unknown as PoolConfig['Client'];
  // A query beside a transaction of this pool waits for its end. One that the transaction itself awaits would wait forever.
  return new Pool({ max: 1, connectionTimeoutMillis: 5_000, Client });
}

const SAVEPOINTS = new Map([
  ['begin', 'SAVEPOINT nested'],
  ['start transaction', 'SAVEPOINT nested'],
  ['commit', 'RELEASE SAVEPOINT nested'],
  ['rollback', 'ROLLBACK TO SAVEPOINT nested'],
]);

function asSavepoint(statement: string): string {
  if (!/^\s*(begin|start|commit|end|rollback(?!\s+to)|abort)\b/i.test(statement)) return statement;
  const savepoint = SAVEPOINTS.get(statement.replace(';', '').trim().toLowerCase());
  if (!savepoint) throw new Error(`Not within the transaction of an operation: ${statement}`);
  return savepoint;
}
