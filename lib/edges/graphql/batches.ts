import { isDeepStrictEqual } from 'node:util';
import type { MutationField } from './field.js';

/** An operation of a batch, as its client has sent it. */
interface Entry {
  readonly query?: unknown;
  readonly variables?: unknown;
}

/**
 * With how many operations an execution is compared. Guards may let some pass before others, but few. Those whose variables have defaults
 * equal none of what was sent, and would be compared with all: a client decides how many there are.
 */
const MAX_COMPARED = 100;

/** The batches that are executed, by what parsers have made of them. */
const known = new WeakMap<object, Batch>();

/**
 * Returns how many operations before this one in a batched HTTP request may have the same field. They have one key header, so that two
 * mutations of one field would be one operation, and the second would get the outcome of the first.
 *
 * The number has to be the same on a retry, so it depends on the batch alone, and not on the order in which guards let the operations
 * pass.
 */
export function sameFieldsBefore({ name, request, execution }: MutationField): number {
  const entries = request?.body;
  if (!Array.isArray(entries) || entries.length < 2) return 0;
  let batch = known.get(entries);
  if (!batch) known.set(entries, (batch = new Batch(entries as Entry[])));
  return batch.countBefore(batch.placeOf(execution), name);
}

/** Operations of a batch by their places. What it finds it keeps: a client decides how many there are, and each asks for all before it. */
class Batch {
  /** Each execution is known by its variables. */
  private readonly places = new Map<object, number>();
  private readonly taken = new Set<number>();
  /** The first place that is not taken. */
  private firstFree = 0;
  /** For each field, how many operations before a place may have it. */
  private readonly counts = new Map<string, readonly number[]>();

  constructor(private readonly entries: readonly Entry[]) {}

  placeOf({ variables, query }: MutationField['execution']): number {
    let place = this.places.get(variables);
    if (place !== undefined) return place;
    place = this.find(variables, query);
    this.places.set(variables, place);
    this.taken.add(place);
    while (this.taken.has(this.firstFree)) this.firstFree++;
    return place;
  }

  countBefore(place: number, name: string): number {
    let counts = this.counts.get(name);
    if (!counts) this.counts.set(name, (counts = this.count(name)));
    return counts[place];
  }

  /** Returns the free place with the query and variables of an execution, or else one with its query, or else any. */
  private find(variables: object, query: string | undefined): number {
    let ofQuery: number | undefined;
    let left = MAX_COMPARED;
    for (let place = this.firstFree; place < this.entries.length && left > 0; place++) {
      const entry = this.entries[place];
      // A persisted query is sent by its digest.
      if (this.taken.has(place) || ![undefined, query].includes(entry?.query as string | undefined)) continue;
      if (isDeepStrictEqual({ ...variables }, { ...(entry?.variables as object) })) return place;
      ofQuery ??= place;
      left--;
    }
    return ofQuery ?? (this.firstFree < this.entries.length ? this.firstFree : 0);
  }

  private count(name: string): number[] {
    const field = new RegExp(`\\b${name}\\b`);
    let before = 0;
    return this.entries.map((entry) => {
      const count = before;
      if (typeof entry?.query !== 'string' || field.test(entry.query)) before++;
      return count;
    });
  }
}
