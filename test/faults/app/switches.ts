import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Claim,
  type Completion,
  type EngineParts,
  type FencedAnswer,
  type Ownership,
  type RecordStore,
  type StoreTransaction,
  StoreUnavailableError,
} from 'nestjs-idempotency/testing';
import type { EntityManager, QueryRunner } from 'typeorm';
import type { Workload } from '../history/workloads.js';
import { clockOffset } from './clock.js';
import { DEADLOCKS } from './deadlock.js';

type Changes = Partial<RecordStore>;

type Break = (store: RecordStore) => Changes;

interface Switch {
  readonly how: Break;
  /** What the checker has to say, where not anything will do. */
  readonly noticed?: RegExp;
  /** The operations in which it shows, where the rest would only take their place. */
  readonly only?: readonly Workload[];
  /** In which runs it is looked for. Default: rich ones. */
  readonly shownIn?: 'lean';
}

/** Ways to break the library on purpose, to see whether the checker notices. */
const SWITCHES: Readonly<Record<string, Switch>> = {
  'no fencing': { how: unfenced, only: ['long', 'waiting'] },
  'record after send': { how: recordLate, shownIn: 'lean' },
  "lease on the application's clock": { how: leaseByOurClock },
  'lock instead of claim': { how: (store) => ({ ...lockDecides(store), ...unfenced(store) }), shownIn: 'lean' },
  'rerun after a lost completion': { how: freeWhenInDoubt, only: ['plain', 'waiting'], shownIn: 'lean' },
  'writes outside of the transaction': { how: inAutocommit, noticed: /half an effect/ },
  'steps that write in the transaction': { how: unguarded, noticed: /credit of token \d+ without debit/ },
  'undone transactions that go on': { how: goingOn, noticed: /credit of token \d+ without debit/ },
  'failures committed': { how: committingFailures, noticed: /answered 500 .* there is an effect/ },
  'completed outside of the transaction': {
    how: completingOutside,
    noticed: /answered, and no effect/,
    shownIn: 'lean',
  },
  'refusals retried': { how: retryingRefusals, noticed: /said nothing for/, only: ['plain', 'large'] },
  'refusals taken for outages': { how: blamingOutages, noticed: /to try again what cannot be done/ },
  'step names by collation': {
    how: collated,
    noticed: /step item-. (was done .* and ran again|was given the result)/,
  },
  'retention counted from the claim': {
    how: forgettingSteps,
    noticed: /step (first|second|third) was done .* and ran again/,
  },
};

export const SWITCH_NAMES: readonly string[] = Object.keys(SWITCHES);

export function breakOnPurpose(name: string | undefined, parts: EngineParts): EngineParts {
  if (name === undefined) return parts;
  return { ...parts, store: change(parts.store, SWITCHES[name].how(parts.store)) };
}

/** Which of the violations that were seen show what was broken. */
export function noticedAs<V extends { readonly detail: string }>(name: string, violations: readonly V[]): V[] {
  const { noticed } = SWITCHES[name];
  return violations.filter(({ detail }) => noticed?.test(detail) ?? true);
}

/** The operations that a run of the broken library is to have. */
export function shownBy(name: string): readonly Workload[] | undefined {
  return SWITCHES[name].only;
}

/** The runs in which it is looked for. */
export function shownIn(name: string): 'rich' | 'lean' {
  return SWITCHES[name].shownIn ?? 'rich';
}

function change<T extends object>(what: T, changes: Partial<T>): T {
  const properties = Object.entries(changes).map(([name, value]) => [name, { value }] as const);
  return Object.create(what, Object.fromEntries(properties)) as T;
}

const HELD: FencedAnswer = { held: true, awaited: true };

/** An execution that ends writes its outcome, even if another owns the record by now. */
function unfenced(store: RecordStore): Changes {
  const force = async (ownership: Ownership, completion: Completion) => {
    const existing = await store.read(ownership.recordId);
    if (existing?.status === 'processing') await store.complete(existing, completion);
    return HELD;
  };
  return {
    complete: async (ownership, completion) => {
      const answer = await store.complete(ownership, completion);
      return answer.held ? answer : force(ownership, completion);
    },
    transaction: (work) =>
      store.transaction((within) =>
        work({
          manager: within.manager,
          inside: within.inside,
          complete: async (ownership, completion) => {
            const answer = await within.complete(ownership, completion);
            return answer.held ? answer : HELD;
          },
        }),
      ),
    renew: async (ownership, leaseMs, transactional) => {
      await store.renew(ownership, leaseMs, transactional);
      return HELD;
    },
  };
}

/** Says that an outcome is on record, and records it some time after. */
function recordLate(store: RecordStore): Changes {
  const LATER = 250;
  return {
    complete: async (ownership, completion) => {
      void sleep(LATER)
        .then(() => store.complete(ownership, completion))
        .catch(() => undefined);
      return HELD;
    },
  };
}

/** Takes the lease to end by the clock of this process. */
function leaseByOurClock(store: RecordStore): Changes {
  return {
    claim: async (claim) => {
      const existing = await store.claim(claim);
      const isOurs = existing.owner === claim.owner;
      if (isOurs || existing.status !== 'processing' || existing.leaseLeftMs > clockOffset()) return existing;
      return steal(store, claim, existing);
    },
  };
}

/** An execution that comes here has the lock, or could not get one: that is all the claim it needs. */
function lockDecides(store: RecordStore): Changes {
  return {
    claim: async (claim) => {
      const existing = await store.claim(claim);
      const isOurs = existing.owner === claim.owner;
      return isOurs || existing.status !== 'processing' ? existing : steal(store, claim, existing);
    },
  };
}

async function steal(store: RecordStore, claim: Claim, existing: Ownership) {
  await store.renew(existing, 0);
  return store.claim(claim);
}

/** A completion without an answer counts as failed: the key is free for another run. */
function freeWhenInDoubt(store: RecordStore): Changes {
  const free = async (ownership: Ownership, completion: Completion): Promise<FencedAnswer> => {
    try {
      return await store.complete(ownership, completion);
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await freed(store, ownership);
      throw new Error('the completion failed', { cause: error });
    }
  };
  return { complete: free };
}

async function freed(store: RecordStore, ownership: Ownership): Promise<void> {
  for (let tries = 0; tries < 20; tries++) {
    try {
      await store.release(ownership, 86_400_000);
      return;
    } catch {
      await sleep(100);
    }
  }
}

/** Has transactions begin and complete in a way of their own. */
function transactions(store: RecordStore, changes: (within: StoreTransaction) => Partial<StoreTransaction>): Changes {
  return { transaction: (work) => store.transaction((within) => work(change(within, changes(within)))) };
}

/** Handlers write through another connection: each statement commits by itself. */
function inAutocommit(store: RecordStore): Changes {
  return transactions(store, ({ manager }) => ({ manager: (manager as EntityManager).dataSource.manager }));
}

/** Handlers write in the transaction, unseen by what watches it. */
function unguarded(store: RecordStore): Changes {
  return transactions(store, ({ manager }) => {
    const { dataSource, queryRunner } = manager as EntityManager;
    return { manager: dataSource.createEntityManager(Object.create(queryRunner!) as QueryRunner) };
  });
}

/** Once the database has undone a transaction, what is left of the handler runs in autocommit. */
function goingOn(store: RecordStore): Changes {
  return transactions(store, ({ manager }) => {
    const { dataSource, queryRunner } = manager as EntityManager;
    let undone = false;
    const query = async (...args: Parameters<QueryRunner['query']>): Promise<unknown> => {
      if (!undone) {
        return queryRunner!.query(...args).catch((error: { code?: string }) => {
          undone = DEADLOCKS.includes(error.code ?? '');
          throw error;
        });
      }
      const other = dataSource.createQueryRunner();
      return other.query(...args).finally(() => void other.release());
    };
    return {
      manager: dataSource.createEntityManager(Object.create(queryRunner!, { query: { value: query } }) as QueryRunner),
      complete: (ownership, completion) => store.complete(ownership, completion),
      completeLast: undefined,
    };
  });
}

/** What a handler wrote before it failed is committed. */
function committingFailures(store: RecordStore): Changes {
  return {
    transaction: async (work) => {
      const done = await store.transaction((within) =>
        work(within).then(
          (result) => ({ result }),
          (error: unknown) => ({ error }),
        ),
      );
      if ('error' in done) throw done.error;
      return done.result;
    },
  };
}

/** The outcome is recorded, whatever becomes of the transaction. */
function completingOutside(store: RecordStore): Changes {
  return transactions(store, () => ({
    complete: (ownership, completion) => store.complete(ownership, completion),
    completeLast: undefined,
  }));
}

/** Records an outcome again and again, though the database says no. */
function retryingRefusals(store: RecordStore): Changes {
  return {
    complete: async (ownership, completion) => {
      for (;;) {
        try {
          return await store.complete(ownership, completion);
        } catch {
          await sleep(100);
        }
      }
    },
  };
}

/** Whatever the database says to a completion or to COMMIT, a retry is said to help. */
function blamingOutages(store: RecordStore): Changes {
  const blame = (error: unknown): never => {
    throw new StoreUnavailableError({ cause: error });
  };
  return {
    transaction: async (work) => {
      let ours: unknown;
      const done = (within: StoreTransaction) =>
        work(
          change(within, {
            complete: (ownership, completion) => within.complete(ownership, completion).catch(blame),
            completeLast: undefined,
          }),
        ).catch((error: unknown) => {
          ours = error;
          throw error;
        });
      return store.transaction(done).catch((error: unknown) => {
        if (error === ours) throw error;
        return blame(error);
      });
    },
  };
}

/** One row for all names that differ by case. */
function collated({ steps }: RecordStore): Changes {
  return {
    steps: change(steps, {
      begin: (ownership, name, within) => steps.begin(ownership, name.toLowerCase(), within),
      end: (ownership, name, outcome, within) => steps.end(ownership, name.toLowerCase(), outcome, within),
    }),
  };
}

/** An execution that takes over an operation whose outcome would have expired by now begins again. */
function forgettingSteps(store: RecordStore): Changes {
  const brief = new Set<string>();
  return {
    claim: (claim, onLate) => {
      if (claim.retentionMs <= LONGEST_FORGOTTEN) brief.add(claim.recordId);
      return store.claim(claim, onLate);
    },
    steps: change(store.steps, {
      load: (recordId, within) => (brief.has(recordId) ? Promise.resolve([]) : store.steps.load(recordId, within)),
    }),
  };
}

const LONGEST_FORGOTTEN = 1_000;
