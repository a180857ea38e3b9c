import { deepStrictEqual, equal } from 'node:assert/strict';
import fc from 'fast-check';
import { fromValueJson, toValueJson } from '../../lib/engine/value-json.js';
import { packAnswer, unpackAnswer } from '../../lib/edges/content/value-outcome.js';
import { VALUES } from './corpus/values.js';
import { property, type Property, textOf } from './property.js';

/** What handlers return, of which JSON has no word for the half. */
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.oneof(fc.string(), fc.integer(), fc.double(), fc.boolean(), fc.constant(null)),
    fc.date({ noInvalidDate: false }),
    fc.bigInt(),
    fc.uint8Array({ maxLength: 8 }),
    fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
    fc.array(fc.oneof(tie('value'), fc.constant(undefined)), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof(fc.string(), textOf('/~01_', 3), fc.constantFrom('__proto__', 'constructor', '')),
      tie('value'),
      {
        maxKeys: 4,
        noNullPrototype: true,
      },
    ),
    fc.array(tie('value'), { maxLength: 3 }).map((members) => new Set(members)),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((entries) => new Map(entries)),
  ),
}));

/** A value as it comes back: JSON knows no negative zero. A date that is none equals nothing, and is compared by its time. */
function asStored(one: unknown): unknown {
  if (Object.is(one, -0)) return 0;
  if (Array.isArray(one)) return one.map(asStored);
  if (one instanceof Map) return new Map([...one].map(([key, member]) => [asStored(key), asStored(member)]));
  if (one instanceof Set) return new Set([...one].map(asStored));
  if (typeof one !== 'object' || one === null || one instanceof Uint8Array) return one;
  if (one instanceof Date) return { isDate: one.getTime() };
  return Object.fromEntries(Object.entries(one).map(([name, member]) => [name, asStored(member)]));
}

const throughJson = (one: unknown) =>
  fromValueJson(JSON.parse(JSON.stringify(toValueJson(one))) as ReturnType<typeof toValueJson>);

export const values: readonly Property[] = [
  property(
    'a value comes back as it was, with its types',
    [value],
    (one) => {
      deepStrictEqual(asStored(throughJson(one)), asStored(one));
      deepStrictEqual(asStored(throughJson(throughJson(one))), asStored(one));
    },
    VALUES,
  ),
  property('what JSON can carry stays plain', [fc.jsonValue()], (one) => {
    deepStrictEqual(toValueJson(one), { json: JSON.stringify(one) });
  }),
  property(
    'an answer is replayed as it was emitted',
    [fc.array(value, { maxLength: 3 }), fc.option(fc.string())],
    async (emitted, message) => {
      const thrown = message === null ? undefined : { error: new Error(message) };
      if (emitted.length === 0 && !thrown) return;
      const again = await unpackAnswer(packAnswer({ values: emitted, ...(thrown && { thrown }) }, Infinity));
      deepStrictEqual(again.values.map(asStored), emitted.map(asStored));
      equal((again.thrown?.error as Error | undefined)?.message, thrown?.error.message);
    },
  ),
];
