import type { Order } from '../app/order.js';
import type { Workload } from '../history/workloads.js';
import type { Profile } from './profile.js';
import type { Random } from './random.js';
import type { LabDialect } from './servers.js';

export type Mix = readonly (readonly [workload: Workload, weight: number])[];

const LEAN: Mix = [
  ['plain', 7],
  ['transactional', 3],
  ['stepped', 1],
  ['held', 2],
  ['waiting', 1],
];

/** How often which operations are asked for. `only`: no others than these. */
export function mixFor({ name }: Profile, dialect: LabDialect, only?: readonly string[]): Mix {
  return (name === 'lean' ? LEAN : richMix(dialect)).filter(([workload]) => only?.includes(workload) ?? true);
}

function richMix(dialect: LabDialect): Mix {
  return [
    ['plain', 5],
    ['transactional', 4],
    ['checkout', 4],
    ['waiting', 3],
    ['long', 1],
    ['held', 2],
    ['items', 2],
    ['brief', 2],
    ['large', 1],
    ['transfer', 3],
    ['mixed', 2],
    ['caught', 2],
    ['deadlock', 2],
    // MariaDB checks nothing at COMMIT.
    ['deferred', dialect === 'postgres' ? 2 : 0],
    ['large-transfer', 1],
    ['timed-out', 1],
    ['cut-short', 1],
    ['again-inside', 1],
    ['again-outside', 1],
  ];
}

/** How long an operation works, in milliseconds. */
export function workOf(workload: Workload, { name, leaseMs }: Profile, random: Random): number {
  if (name === 'lean') return random.between(0, 8);
  return workload === 'long' || workload === 'brief' ? 2 * leaseMs : random.between(0, 250);
}

interface Trouble extends Pick<Order, 'trouble' | 'goesOn'> {
  /** Whether the operation can only be refused. */
  readonly refused: boolean;
}

/** What goes wrong with an operation, and whether it can succeed in the end. */
export function troubleOf(workload: Workload, dialect: LabDialect, random: Random): Trouble {
  const goesOn = random.chance(0.5);
  switch (workload) {
    case 'items':
    case 'transfer':
      return { trouble: random.pick(['never', 'first']), goesOn, refused: false };
    case 'deadlock':
    case 'timed-out':
    case 'cut-short':
    case 'again-inside':
    case 'again-outside':
      return { trouble: 'first', goesOn, refused: false };
    case 'mixed':
      return { trouble: 'first', goesOn, refused: true };
    case 'caught':
      // PostgreSQL takes no more statements after an error; to MariaDB, that statement alone has failed.
      return { trouble: 'always', goesOn, refused: dialect === 'postgres' };
    case 'deferred':
    case 'large-transfer': {
      const trouble = random.pick(['first', 'always'] as const);
      return { trouble, goesOn, refused: trouble === 'always' };
    }
    default:
      return { trouble: 'never', goesOn, refused: false };
  }
}
