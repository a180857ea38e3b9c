import type { EntityManager } from 'typeorm';
import type {
  FencedAnswer,
  Ownership,
  RecordedStep,
  StepEnd,
  StepStore,
  StoreTransaction,
} from '../engine/ports/record-store.js';
import { UnreadableRecordError } from '../engine/errors.js';
import type { Connector } from './connectors/connector.js';
import { withDeadline } from './deadline.js';
import { noSealer, type SealedPlace, type Sealer } from './sealer.js';
import { ask, besideTransaction, nestedIn, type Work } from './statements.js';
import type { SingleConnectionWrites } from './transactions/single-connection-writes.js';

/** Keeps the steps of operations in the same database as their records. */
export class SqlStepStore implements StepStore {
  readonly joinsTransaction: boolean;

  constructor(
    private readonly connector: Connector,
    private readonly sealer: Sealer,
    private readonly patienceMs: number,
    private readonly singleConnection: SingleConnectionWrites | undefined,
  ) {
    this.joinsTransaction = connector.singleConnection;
  }

  async load(recordId: string, within?: StoreTransaction): Promise<readonly RecordedStep[]> {
    const rows = await this.ask('a step', within, (on) => this.connector.dialect.loadSteps(on, recordId));
    return rows.map(({ name, status, result }) => ({
      name,
      status,
      result: status === 'done' ? this.opened(result, placeOf(recordId, name)) : null,
    }));
  }

  begin(ownership: Ownership, name: string, within?: StoreTransaction): Promise<FencedAnswer> {
    return this.put(ownership, { name, status: 'begun', result: null }, within);
  }

  end(ownership: Ownership, name: string, end: StepEnd, within?: StoreTransaction): Promise<FencedAnswer> {
    const result = end.status === 'done' ? this.sealed(end.result, placeOf(ownership.recordId, name)) : null;
    return this.put(ownership, { name, status: end.status, result }, within);
  }

  /** Seals an empty text where a step has no result: anyone who can write to the table could otherwise say that a step is done. */
  private sealed(result: string | null, place: SealedPlace): Buffer | null {
    if (result === null && this.sealer === noSealer) return null;
    return this.sealer.seal(Buffer.from(result ?? ''), place);
  }

  private opened(result: Buffer | null, place: SealedPlace): string | null {
    if (result) return this.sealer.open(result, place).toString() || null;
    if (this.sealer === noSealer) return null;
    throw new UnreadableRecordError();
  }

  /**
   * A step is recorded outside of the handler's transaction: a retry must find it after a rollback, and after a crash. On a single
   * connection it becomes part of the transaction, once that may have written.
   */
  private put(
    ownership: Ownership,
    step: { name: string; status: RecordedStep['status']; result: Buffer | null },
    within: StoreTransaction | undefined,
  ): Promise<FencedAnswer> {
    const put: Work<FencedAnswer> = (on) => this.connector.dialect.putStep(on, ownership, step);
    if (within && this.singleConnection) {
      return withDeadline(this.singleConnection.run(within.manager as EntityManager, put, step.name), this.patienceMs);
    }
    return this.ask(`step "${step.name}"`, within, put, step.status !== 'begun');
  }

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

function placeOf(recordId: string, name: string): SealedPlace {
  return { recordId, field: `step:${name}` };
}
