import { isDeepStrictEqual } from 'node:util';
import type { MutationField } from './field.js';

/** An operation of a batch, as its client has sent it. */
interface Entry {
  readonly query?: unknown;
  readonly variables?: unknown;
}

/** The operations of a batch by their place in it. Each is known by the variables of its execution. */
const known = new WeakMap<object, Map<number, object>>();

/**
 * Returns how many operations before this one in a batched HTTP request may have the same field. They have one key header, so that two
 * mutations of one field would be one operation, and the second would get the outcome of the first.
 *
 * The number has to be the same on a retry, so it depends on the batch alone, and not on the order in which guards let the operations
 * pass.
 */
export function sameFieldsBefore({ name, request, execution }: MutationField): number {
  const batch = request?.body;
  if (!Array.isArray(batch) || batch.length < 2) return 0;
  const place = placeOf(execution, batch as Entry[]);
  const field = new RegExp(`\\b${name}\\b`);
  const mayHaveField = ({ query }: Entry) => typeof query !== 'string' || field.test(query);
  return (batch as Entry[]).slice(0, place).filter(mayHaveField).length;
}

function placeOf({ variables, query }: MutationField['execution'], batch: readonly Entry[]): number {
  let places = known.get(batch);
  if (!places) known.set(batch, (places = new Map()));
  for (const [place, of] of places) if (of === variables) return place;
  const free = [...batch.keys()].filter((place) => !places.has(place));
  // A persisted query is sent by its digest.
  const ofQuery = free.filter((place) => [undefined, query].includes(batch[place]?.query as string | undefined));
  const isSent = (place: number) => isDeepStrictEqual({ ...variables }, { ...(batch[place]?.variables as object) });
  const place = ofQuery.find(isSent) ?? ofQuery[0] ?? free[0] ?? 0;
  places.set(place, variables);
  return place;
}
