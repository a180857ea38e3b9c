import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Claim,
  type Completion,
  type EngineParts,
  type FencedAnswer,
  type Ownership,
  type RecordStore,
  StoreUnavailableError,
} from 'nestjs-idempotency/testing';
import { clockOffset } from './clock.js';

type Changes = Partial<RecordStore>;

/** Ways to break the library on purpose, to see whether the checker notices. */
const SWITCHES: Record<string, (parts: EngineParts) => Partial<EngineParts>> = {
  'no fencing': ({ store }) => ({ store: change(store, unfenced(store)) }),
  'record after send': ({ store }) => ({ store: change(store, recordLate(store)) }),
  "lease on the application's clock": ({ store }) => ({ store: change(store, leaseByOurClock(store)) }),
  'lock instead of claim': ({ store }) => ({ store: change(store, { ...lockDecides(store), ...unfenced(store) }) }),
  'rerun after a lost completion': ({ store }) => ({ store: change(store, freeWhenInDoubt(store)) }),
};

export const SWITCH_NAMES: readonly string[] = Object.keys(SWITCHES);

export function breakOnPurpose(name: string | undefined, parts: EngineParts): EngineParts {
  return name === undefined ? parts : { ...parts, ...SWITCHES[name](parts) };
}

function change(store: RecordStore, changes: Changes): RecordStore {
  const properties = Object.entries(changes).map(([name, value]) => [name, { value }] as const);
  return Object.create(store, Object.fromEntries(properties)) as RecordStore;
}

const HELD: FencedAnswer = { held: true, awaited: true };

/** Whoever ends an execution writes its outcome, whoever owns the record by now. */
function unfenced(store: RecordStore): Changes {
  const force = async (ownership: Ownership, completion: Completion) => {
    const standing = await store.read(ownership.recordId);
    if (standing?.status === 'processing') await store.complete(standing, completion);
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
          complete: async (ownership, completion) => {
            const answer = await within.complete(ownership, completion);
            return answer.held ? answer : HELD;
          },
        }),
      ),
    renew: async (ownership, leaseMs) => {
      await store.renew(ownership, leaseMs);
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
      const standing = await store.claim(claim);
      const isOurs = standing.owner === claim.owner;
      if (isOurs || standing.status !== 'processing' || standing.leaseLeftMs > clockOffset()) return standing;
      return steal(store, claim, standing);
    },
  };
}

/** Whoever comes here has the lock, or could not get one: that is all the claim it needs. */
function lockDecides(store: RecordStore): Changes {
  return {
    claim: async (claim) => {
      const standing = await store.claim(claim);
      const isOurs = standing.owner === claim.owner;
      return isOurs || standing.status !== 'processing' ? standing : steal(store, claim, standing);
    },
  };
}

async function steal(store: RecordStore, claim: Claim, standing: Ownership) {
  await store.renew(standing, 0);
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
