import fc from 'fast-check';
import { GraphQLError } from 'graphql';
import { fromValueJson, toValueJson } from '../../../lib/engine/value-json.js';

const throughJson = (value: unknown) => {
  const stored = JSON.parse(JSON.stringify(toValueJson(value))) as ReturnType<typeof toValueJson>;
  return fromValueJson(stored);
};

describe('values as JSON', () => {
  test.each([
    ['a date', new Date(12)],
    ['a bigint', 2n ** 80n],
    ['numbers that are not finite', [Number.NaN, Infinity, -Infinity, 1]],
    ['bytes', { buffer: Buffer.from('ab'), bytes: new Uint8Array([1, 255]), part: Buffer.from('abcd').subarray(1, 3) }],
    [
      'maps and sets',
      new Map<unknown, unknown>([
        ['a', new Set([new Date(1), 'b'])],
        [{ c: 1n }, new Map()],
      ]),
    ],
    ['undefined in an array', [undefined, { a: [undefined] }]],
    ['members with odd names', { '': { '': new Date(3) }, 'a/b': { '~': 1n }, 0: [new Date(4)] }],
    ['undefined', undefined],
    ['null', null],
  ])('%s', (_what, value) => {
    expect(throughJson(value)).toEqual(value);
  });

  // An empty object, on a later attempt: what had failed, and why, was forgotten.
  test('errors, as of Promise.allSettled()', () => {
    const reason = Object.assign(new TypeError('declined'), { code: 'card_declined', at: new Date(3) });
    const [settled] = throughJson([{ status: 'rejected', reason }]) as { reason: Error }[];
    expect(settled.reason).toBeInstanceOf(Error);
    expect(settled.reason).toMatchObject({
      name: 'TypeError',
      message: 'declined',
      code: 'card_declined',
      at: new Date(3),
    });
    // A transport sends the same of both.
    expect(JSON.stringify(settled.reason)).toBe(JSON.stringify(reason));
  });

  test('errors with toJSON(), as those of GraphQL and axios: with what that names, and nothing else', () => {
    const declined = new GraphQLError('declined', { extensions: { code: 'CARD_DECLINED' } });
    Object.assign(declined, { request: { authorization: 'secret' } });
    const { json, ...types } = toValueJson([declined]);
    expect(json).not.toContain('secret');
    const [error] = fromValueJson({ json, ...types }) as [GraphQLError];
    expect([error instanceof Error, error.name, error.message]).toEqual([true, 'GraphQLError', 'declined']);
    expect(error.extensions).toEqual({ code: 'CARD_DECLINED' });
  });

  test('an error that names its prototype does not change one', () => {
    const forged = { json: '{"name":"E","message":"m","__proto__":{"polluted":1}}', types: [[[], 'error']] as never };
    const error = fromValueJson(forged) as Error & { polluted?: number };
    expect([error instanceof Error, Object.getPrototypeOf(error) === Error.prototype, error.polluted]).toEqual([
      true,
      true,
      undefined,
    ]);
  });

  test('a date that is none', () => {
    expect((throughJson([new Date(Number.NaN)]) as Date[])[0].getTime()).toBeNaN();
  });

  test('what JSON can carry stays plain, and text that looks like a date stays text', () => {
    expect(toValueJson({ a: [1, 'x', null, true], at: new Date(0).toISOString() })).toEqual({
      json: '{"a":[1,"x",null,true],"at":"1970-01-01T00:00:00.000Z"}',
    });
  });

  test('a date is text for readers of the JSON', () => {
    expect(toValueJson({ at: new Date(0) })).toEqual({
      json: '{"at":"1970-01-01T00:00:00.000Z"}',
      types: [[['at'], 'date']],
    });
  });

  test('the same object twice', () => {
    const shared = { at: new Date(5) };
    expect(throughJson({ a: shared, b: [shared] })).toEqual({ a: shared, b: [shared] });
  });

  test('toJSON() of a class is respected, also where it makes a date', () => {
    class Money {
      constructor(readonly cents: bigint) {}
      toJSON = () => ({ cents: this.cents, seen: new Date(7) });
    }
    expect(throughJson({ price: new Money(5n) })).toEqual({ price: { cents: 5n, seen: new Date(7) } });
  });

  // A mutation whose union has such a class: its replay had no type any more.
  test('an error of a class that all processes know', () => {
    class Declined extends Error {
      code = 'card_declined';
    }
    const known = {
      nameOf: (instance: object) => (instance instanceof Declined ? 'Declined' : undefined),
      prototypeOf: (name: string) => (name === 'Declined' ? Declined.prototype : undefined),
    };
    const { payment } = fromValueJson(toValueJson({ payment: new Declined('no money') }, known), known) as {
      payment: Declined;
    };
    expect(payment).toBeInstanceOf(Declined);
    expect([payment.message, payment.code, payment.constructor]).toEqual(['no money', 'card_declined', Declined]);
  });

  // Entities of a relation know each other. For those with @ObjectType(), the process went round until its memory was full.
  test('an object within itself', () => {
    const order = { at: new Date(1), lines: [] as object[] };
    order.lines.push({ order, at: new Date(2) }, { order, ofMap: new Map([['order', order]]) });
    const known = { nameOf: () => 'Entity', prototypeOf: () => undefined };
    expect(fromValueJson(toValueJson({ order }, known), known)).toEqual({ order });
    const back = throughJson({ order }) as { order: typeof order };
    expect(back).toEqual({ order });
    const [first, second] = back.order.lines as { order: object; ofMap: Map<string, object> }[];
    expect([first.order, second.order, second.ofMap.get('order')]).toEqual(Array(3).fill(back.order));
    expect(first.order === back.order && second.ofMap.get('order') === back.order).toBe(true);
    const list: unknown[] = [];
    list.push(list);
    const lists = throughJson(list) as unknown[];
    expect(lists[0]).toBe(lists);
  });

  test('a Map or an error that contains itself is refused', () => {
    const error = Object.assign(new Error('declined'), { self: undefined as unknown });
    error.self = error;
    const map = new Map<string, unknown>();
    map.set('self', map);
    // V8 went round until its stack was full, which kept all other requests waiting for a second.
    const known = { nameOf: () => 'Failed', prototypeOf: () => undefined };
    for (const value of [{ error }, map])
      expect(() => toValueJson(value, known)).toThrow('contains itself, and is no JSON');
  });

  test('any value of these types comes back', () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.jsonValue(),
        // A date that is none equals nothing: it has a test of its own.
        fc.date({ noInvalidDate: true }),
        fc.bigInt(),
        fc.uint8Array(),
        fc.constant(Number.NaN),
        fc.array(tie('value')),
        fc.dictionary(fc.string(), tie('value')),
        fc.array(tie('value')).map((members) => new Set(members)),
        fc.array(fc.tuple(fc.string(), tie('value'))).map((entries) => new Map(entries)),
      ),
    }));
    fc.assert(
      fc.property(value, (one) => {
        // JSON knows of no negative zero.
        expect(throughJson(one)).toEqual(throughJson(throughJson(one)));
        expect(JSON.stringify(toValueJson(throughJson(one)))).toBe(JSON.stringify(toValueJson(one)));
      }),
    );
  });
});
