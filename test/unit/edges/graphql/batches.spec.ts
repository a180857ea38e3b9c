import { sameFieldsBefore } from '../../../../lib/edges/graphql/batches.js';
import type { MutationField } from '../../../../lib/edges/graphql/field.js';

const QUERY = 'mutation ($a: Int = 1) { pay(a: $a) }';

/** How often the query of an operation is read, for a whole batch of that many. */
function readsOf(size: number, sent: object, coerced: object): { readonly reads: number; readonly counts: number[] } {
  let reads = 0;
  const operation = () => ({
    get query() {
      reads++;
      return QUERY;
    },
    variables: sent,
  });
  const body = Array.from({ length: size }, operation);
  const counts = body.map(() => {
    const execution = { query: QUERY, variables: { ...coerced } };
    return sameFieldsBefore({ name: 'pay', request: { headers: {}, body }, execution } as unknown as MutationField);
  });
  return { reads, counts };
}

test.each([
  ['as they were sent', { a: 2 }, { a: 2 }],
  ['that have got a default', {}, { a: 1 }],
])('the mutations of a large batch, with variables %s, are not compared with all others', (_, sent, coerced) => {
  const size = 2_000;
  const { reads, counts } = readsOf(size, sent, coerced);
  expect(counts).toEqual(Array.from({ length: size }, (_, place) => place));
  expect(reads).toBeLessThan(250 * size);
});
