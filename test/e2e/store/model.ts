import { NO_OWNER } from '../../../lib/store/dialects/dialect.js';
import type { RecordStatus } from '../../../lib/engine/ports/record-store.js';

/** Of all claims. */
export const MAX_ATTEMPTS = 3;

/**
 * What a store of records does, said as plainly as possible: the specification that the databases are compared with.
 * Time does not pass; it is moved by {@link Model.expireLease} and {@link Model.expireRecord}.
 */
export class Model {
  private readonly records = new Map<string, ModelRecord>();
  private operations = 0;

  get(key: string): ModelRecord | undefined {
    return this.records.get(key);
  }

  claim(key: string, claim: ModelClaim): ModelRecord {
    const record = this.records.get(key);
    if (!record) return this.put(key, { ...this.begin(claim), token: 1, attempt: 1, takenFrom: null });

    const { status, token, attempt } = record;
    const silent = status === 'processing' && record.lapsed;
    if (record.expired && (status === 'done' || status === 'failed')) {
      return this.put(key, { ...this.begin(claim), token: token + 1, attempt: 1, takenFrom: status });
    }
    if (record.request !== claim.request || record.caller !== claim.caller) return record;
    if (silent && (record.hold || claim.hold || record.attemptsLeft === 0))
      return this.put(key, { ...record, status: 'held' });
    if (silent || status === 'failed') {
      const { operation, steps } = record;
      const attemptsLeft = silent ? record.attemptsLeft - 1 : MAX_ATTEMPTS - 1;
      const taken = { ...this.begin(claim), operation, steps, attemptsLeft, token: token + 1, attempt: attempt + 1 };
      return this.put(key, { ...taken, takenFrom: status });
    }
    return record;
  }

  /** What a read answers: nothing where the record is over and has expired. */
  read(key: string): ModelRecord | undefined {
    const record = this.records.get(key);
    const isOver = record?.status === 'done' || record?.status === 'failed';
    return record?.expired && isOver ? undefined : record;
  }

  complete(key: string, hold: ModelHold, code: number) {
    return this.fenced(key, hold, (record) => ({ ...record, status: 'done', code, expired: false }));
  }

  release(key: string, hold: ModelHold) {
    return this.fenced(key, hold, (record) => released(record, 'done', 'begun'));
  }

  hold(key: string, hold: ModelHold) {
    return this.fenced(key, hold, (record) => ({ ...record, status: 'held' }));
  }

  discard(key: string, hold: ModelHold) {
    return this.fenced(key, hold, (record) => (record.attempt === 1 ? undefined : released(record, 'done', 'begun')));
  }

  renew(key: string, hold: ModelHold) {
    return this.fenced(key, hold, (record) => ({ ...record, lapsed: false }));
  }

  step(key: string, hold: ModelHold, name: string, status: string) {
    return this.fenced(key, hold, (record) => {
      const steps = record.steps.filter((step) => step.name !== name);
      return { ...record, steps: [...steps, { name, status, operation: record.operation }] };
    });
  }

  steps(key: string): { name: string; status: string }[] {
    const record = this.records.get(key);
    if (!record) return [];
    return record.steps
      .filter((step) => step.operation === record.operation)
      .map(({ name, status }) => ({ name, status }));
  }

  await(key: string): void {
    const record = this.records.get(key);
    if (record?.status === 'processing') this.put(key, { ...record, awaited: true });
  }

  resolve(key: string, code: number | null): boolean {
    const record = this.records.get(key);
    const isUnknown = record?.status === 'held' || (record?.status === 'processing' && record.hold && record.lapsed);
    if (!record || !isUnknown) return false;
    if (code === null) {
      // An operator who frees it has found out that what had begun did not happen.
      const steps = record.steps.map((step) => (step.status === 'begun' ? { ...step, status: 'failed' } : step));
      this.put(key, released({ ...record, steps }, 'done'));
    } else this.put(key, { ...record, status: 'done', owner: NO_OWNER, code, expired: false });
    return true;
  }

  forget(key: string): boolean {
    return this.records.delete(key);
  }

  sweep(): number {
    let swept = 0;
    for (const [key, { status, expired }] of this.records) {
      // What is without an outcome is kept for a whole retention after its lease, which no test waits for.
      const isOver = status === 'done' || status === 'failed';
      if (expired && isOver && this.records.delete(key)) swept++;
    }
    return swept;
  }

  expireLease(key: string): void {
    const record = this.records.get(key);
    if (record) this.put(key, { ...record, lapsed: true });
  }

  expireRecord(key: string): void {
    const record = this.records.get(key);
    if (record && !(record.status === 'failed' && record.stays)) this.put(key, { ...record, expired: true });
  }

  private begin({ owner, request, caller, hold }: ModelClaim) {
    return {
      owner,
      request,
      caller,
      hold,
      status: 'processing' as const,
      lapsed: false,
      expired: false,
      stays: false,
      awaited: false,
      code: null,
      attemptsLeft: MAX_ATTEMPTS - 1,
      operation: ++this.operations,
      steps: [],
    };
  }

  private fenced(key: string, { owner, token }: ModelHold, move: (record: ModelRecord) => ModelRecord | undefined) {
    const record = this.records.get(key);
    if (record?.owner !== owner || record.token !== token || record.status !== 'processing') return { held: false };
    const moved = move(record);
    if (moved) this.put(key, moved);
    else this.records.delete(key);
    return { held: true, awaited: record.awaited };
  }

  private put(key: string, record: ModelRecord): ModelRecord {
    this.records.set(key, record);
    return record;
  }
}

/** A record that is released. A step in one of these states keeps it. */
function released(record: ModelRecord, ...states: readonly string[]): ModelRecord {
  const stays = record.steps.some(({ operation, status }) => operation === record.operation && states.includes(status));
  return { ...record, status: 'failed', expired: false, stays };
}

export interface ModelClaim {
  readonly owner: string;
  readonly request: number;
  readonly caller: number | null;
  readonly hold: boolean;
}

export interface ModelHold {
  readonly owner: string;
  readonly token: number;
}

export interface ModelRecord extends ModelClaim, ModelHold {
  readonly status: RecordStatus;
  readonly attempt: number;
  readonly takenFrom: RecordStatus | null;
  /** Its lease has run out. */
  readonly lapsed: boolean;
  readonly expired: boolean;
  /** It was released with steps that a retry has to find, so that it does not expire. */
  readonly stays: boolean;
  readonly awaited: boolean;
  readonly code: number | null;
  readonly attemptsLeft: number;
  /** Which operation it is that the record is of: another one once it has expired. */
  readonly operation: number;
  readonly steps: readonly { readonly name: string; readonly status: string; readonly operation: number }[];
}
