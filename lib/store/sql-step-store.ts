import type { EntityManager } from 'typeorm';
import type {
  FencedAnswer,
  Ownership,
  RecordedStep,
  StepEnd,
  StepStore,
  StoreTransaction,
} from '../engine/ports/record-store.js';
import type { Connector } from './connectors/connector.js';
import { withDeadline } from './deadline.js';
import type { Sealer } from './sealer.js';
import { ask, besideTransaction, nestedIn, type Work } from './statements.js';

/** Keeps the steps of operations in the same database as their records. */
export class SqlStepStore implements StepStore {
  readonly joinsTransaction: boolean;

  constructor(
    private readonly connector: Connector,
    private readonly sealer: Sealer,
    private readonly patienceMs: number,
  ) {
    this.joinsTransaction = connector.singleConnection;
  }

  async load(recordId: string, within?: StoreTransaction): Promise<readonly RecordedStep[]> {
    const rows = await this.ask('a step', within, (on) => this.connector.dialect.loadSteps(on, recordId));
    return rows.map(({ name, status, result }) => ({
      name,
      status,
      result: result && this.sealer.open(result, { recordId, field: `step:${name}` }).toString(),
    }));
  }

  begin(ownership: Ownership, name: string, within?: StoreTransaction): Promise<FencedAnswer> {
    return this.put(ownership, { name, status: 'begun', result: null }, within);
  }

  end(ownership: Ownership, name: string, end: StepEnd, within?: StoreTransaction): Promise<FencedAnswer> {
    const text = end.status === 'done' ? end.result : null;
    const place = { recordId: ownership.recordId, field: `step:${name}` };
    const result = text === null ? null : this.sealer.seal(Buffer.from(text), place);
    return this.put(ownership, { name, status: end.status, result }, within);
  }

  private put(
    ownership: Ownership,
    step: { name: string; status: RecordedStep['status']; result: Buffer | null },
    within: StoreTransaction | undefined,
  ): Promise<FencedAnswer> {
    const put: Work<FencedAnswer> = (on) => this.connector.dialect.putStep(on, ownership, step);
    return this.ask(`step "${step.name}"`, within, put, step.status !== 'begun');
  }

  /**
   * A step is recorded on another connection than the handler's transaction: a retry must find it after a rollback. On a
   * single connection, it becomes part of the transaction.
   */
  private async ask<T>(what: string, within: StoreTransaction | undefined, work: Work<T>, records = false): Promise<T> {
    const { connector, patienceMs } = this;
    if (within && this.joinsTransaction) {
      return withDeadline(connector.within(within.manager as EntityManager).then(work), patienceMs);
    }
    const nested = nestedIn(connector, what);
    if (nested) throw nested;
    return besideTransaction(connector, what, () => ask(connector, patienceMs, work), within, records);
  }
}
