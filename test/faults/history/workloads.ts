/** What belongs to an operation that was carried out. */
interface Facts {
  /** The rows that a transactional handler writes, one of each: all of them or none. */
  readonly rows?: readonly string[];
  /** The steps that its handler carries out. */
  readonly steps?: readonly string[];
  /** For how long it is kept, in milliseconds, where it was let go of without an outcome. After that, it begins again. */
  readonly forgottenAfterMs?: number;
  /** What shows that the world outside was changed: an `effect`, or a `charge` at the provider. */
  readonly outside?: 'effect' | 'charge';
  /** It can end without a response on record: retries get a problem that says so. */
  readonly responseless?: true;
}

const TRANSFER = ['debit', 'credit'] as const;

/** Kinds of operations that clients ask for; each is the route of its handler. */
const FACTS = {
  plain: { outside: 'effect' },
  waiting: { outside: 'effect' },
  long: { outside: 'effect' },
  held: { outside: 'effect' },
  checkout: { steps: ['reserve', 'charge', 'mail'], outside: 'charge' },
  /** Steps whose names differ by case, and by an accent. */
  items: { steps: ['item-A', 'item-a', 'item-ä'] },
  /** Runs for longer than its outcome would be kept. */
  brief: { steps: ['first', 'second', 'third'], forgottenAfterMs: 1_000 },
  /** The response cannot be stored. */
  large: { outside: 'effect', responseless: true },
  /** One step, without a provider. */
  stepped: { steps: ['reserve'], outside: 'effect' },
  /** An interceptor outside answers with 408 while the handler runs. */
  'timed-out': { outside: 'effect', responseless: true },
  /** A middleware answers with 503 while the handler runs, in a transaction. */
  'cut-short': { rows: TRANSFER, responseless: true },
  /** An interceptor inside of the library's own calls the handler again, whose first call has done a step. */
  'again-inside': { steps: ['reserve'], outside: 'effect' },
  /** An interceptor outside does, each time with a new transaction. */
  'again-outside': { rows: TRANSFER, steps: ['reserve'] },
  transactional: { rows: ['row'] },
  /** A step with an effect outside, between the writes of a transaction. */
  transfer: { rows: TRANSFER, steps: ['charge', 'mail'], outside: 'charge' },
  /** The wrong combination: a step that writes through the operation's transaction. */
  mixed: { rows: TRANSFER },
  /** Catches a unique violation, and goes on. */
  caught: { rows: TRANSFER },
  /** Catches a deadlock, and tries the statement again. */
  deadlock: { rows: TRANSFER },
  /** The database refuses the COMMIT. */
  deferred: { rows: TRANSFER },
  /** The response cannot be stored, and so the transaction cannot complete. */
  'large-transfer': { rows: TRANSFER },
} as const satisfies Record<string, Facts>;

export type Workload = keyof typeof FACTS;

export const WORKLOADS: Readonly<Record<Workload, Facts>> = FACTS;

/** Whether the handler's writes are to commit with its outcome. */
export function isTransactional(workload: Workload): boolean {
  return WORKLOADS[workload].rows !== undefined;
}
