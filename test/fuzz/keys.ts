import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { keyOf as keyOfOption } from '../../lib/edges/shared/option-values.js';
import { type Message, messageHeaders } from '../../lib/edges/rpc/message.js';
import { readMessageKey } from '../../lib/edges/rpc/message-key.js';
import { digestIdentity } from '../../lib/engine/identity.js';
import { storedLabel, storedText } from '../../lib/engine/stored-text.js';
import { readingOf } from '../support/key-reading.js';
import { CONTEXTS, IDENTITIES } from './corpus/keys.js';
import { identityParts } from './identity-parts.js';
import { property, type Property, textOf, visible } from './property.js';

const keyFormat = { minLength: 1, maxLength: 255, pattern: /^[\x21-\x7e]+$/ };
const MODULE = { header: 'Idempotency-Key', keyFormat, documentation: undefined };

const messageOf = (transport: unknown, payload: unknown = {}): Message => {
  const context = (transport ?? {}) as Message['context'];
  return { isEvent: true, endpoint: 'EVENT a', subject: 'a', payload, headers: messageHeaders(context), context };
};
const read = (context: unknown, payload?: unknown) =>
  readingOf(() => readMessageKey(messageOf(context, payload), MODULE));

const key = fc.string({ unit: visible, minLength: 1, maxLength: 60 }).map((text) => text.replaceAll('"', "'"));
const id = fc.string({ minLength: 1, maxLength: 10 });
/** A URI reference has no white space. */
const source = id.map((text) => text.replaceAll(' ', '/'));
const spaced = textOf('a [",]', 4).filter((text) => text !== '');
const spelling = fc.constantFrom('Idempotency-Key', 'idempotency-key', 'IDEMPOTENCY-KEY');
type Headers = Record<string, unknown>;

/** Contexts of Nest's transports, by what their clients send. */
const TRANSPORTS: ((headers: Headers) => unknown)[] = [
  (headers) => ({
    getHeaders: () => ({ keys: () => Object.keys(headers), values: (name: string) => [headers[name]].flat() }),
  }),
  (headers) => ({ getMessage: () => ({ headers }) }),
  (headers) => ({ getMessage: () => ({ properties: { headers } }) }),
  (headers) => ({ getPacket: () => ({ properties: { userProperties: headers } }) }),
  (headers) => ({ getMetadata: () => headers }),
  (headers) => ({ getMap: () => headers }),
];
const transport = fc.constantFrom(...TRANSPORTS);
const prefix = fc.constantFrom('ce-', 'ce_', 'cloudEvents:', 'cloudEvents_', '');

const isWellFormed = (text: string) => !/\p{Surrogate}/u.test(text);

export const keys: readonly Property[] = [
  property(
    'a message has the key of its header, whatever its transport and however it is spelt',
    [transport, spelling, key],
    (make, name, text) => {
      for (const value of [text, Buffer.from(text), `"${text.replaceAll('\\', '\\\\')}"`])
        deepStrictEqual({ ...read(make({ [name]: value, other: 'x' })) }, { kind: 'key', key: text });
      equal(read(make({ [name]: [text, text] })).kind, 'invalid');
    },
  ),
  property(
    'a CloudEvent has the key of its source and id, as headers and as payload',
    [transport, prefix, source, id],
    (make, before, from, name) => {
      const attributes = { specversion: '1.0', id: name, source: from };
      const headers = Object.fromEntries(Object.entries(attributes).map(([one, text]) => [before + one, text]));
      const expected = { kind: 'key', key: `${from} ${name}` };
      deepStrictEqual({ ...read(make(headers)) }, expected);
      deepStrictEqual({ ...read(make({}), attributes) }, expected);
      // A header of its own is what the sender means.
      deepStrictEqual(
        { ...read(make({ ...headers, 'Idempotency-Key': 'own' }), attributes) },
        { kind: 'key', key: 'own' },
      );
    },
  ),
  property(
    'two CloudEvents have one key where source and id are the same, and never else',
    [spaced, spaced, spaced, spaced],
    (sourceOfA, idOfA, sourceOfB, idOfB) => {
      const keyOf = (from: string, name: string) => read({}, { specversion: '1.0', id: name, source: from });
      const isOne = sourceOfA === sourceOfB && idOfA === idOfB;
      equal(isDeepStrictEqual(keyOf(sourceOfA, idOfA), keyOf(sourceOfB, idOfB)), isOne);
    },
    [['a b', 'c', 'a', 'b c']],
  ),
  property(
    'whatever a transport hands over, a message has a key, none, or an invalid one',
    [
      transport,
      fc.dictionary(fc.oneof(spelling, fc.constantFrom('id', 'source', 'specversion', 'ce-id')), fc.anything()),
      fc.anything(),
    ],
    (make, headers, payload) => {
      const reading = read(make(headers), payload);
      ok(['key', 'missing', 'invalid'].includes(reading.kind));
      ok(reading.kind !== 'key' || (typeof reading.key === 'string' && reading.key !== ''));
    },
    CONTEXTS.map(([headers, payload]) => [TRANSPORTS[4], headers, payload]),
  ),
  property('the option `key` gives a text of the format, or is refused', [fc.anything()], (value) => {
    let kind: string;
    try {
      kind = readingOf(() => keyOfOption(value, MODULE)).kind;
    } catch (error) {
      ok(error instanceof TypeError && typeof value !== 'string');
      return;
    }
    const isSound = typeof value === 'string' && /^[!-~]{1,255}$/.test(value);
    equal(kind, value === undefined || value === null ? 'missing' : isSound ? 'key' : 'invalid');
  }),
  property(
    'two identities are one record where they are the same, and never else',
    [identityParts, identityParts],
    (a, b) => {
      // Hosts have no case.
      const textOfIdentity = (one: typeof a) =>
        JSON.stringify([one.namespace, one.host, one.scope, one.endpoint, one.key]);
      equal(digestIdentity(a).recordId === digestIdentity(b).recordId, textOfIdentity(a) === textOfIdentity(b));
    },
    IDENTITIES,
  ),
  property(
    'a stored text is one that all databases take, and of no other text',
    [textOf('a \\u{}0\0\ud800\udc00', 8), textOf('a \\u{}0\0\ud800\udc00', 8)],
    (a, b) => {
      equal(storedText(a) === storedText(b), a === b);
      ok(!storedText(a).includes('\0') && isWellFormed(storedText(a)) && !storedText(a).endsWith(' '));
      ok(storedLabel(a.repeat(60)).length <= 255 && isWellFormed(storedLabel(a.repeat(60))));
    },
  ),
];
