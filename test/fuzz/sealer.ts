import { deepStrictEqual, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { UnreadableRecordError } from '../../lib/engine/errors.js';
import { AesGcmSealer } from '../../lib/store/sealer.js';
import { SEALED } from './corpus/sealer.js';
import { property, type Property } from './property.js';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((one) => Buffer.from(one));
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const keyId = fc.string({ minLength: 1, maxLength: 12 }).filter((id) => Buffer.byteLength(id) <= 255);
const place = fc.record({ recordId: fc.uuid(), field: fc.constantFrom('request', 'head of 200', 'body', 'step:a') });

/** What becomes of a sealed value on the way: one byte is another, or some are missing or too many. */
const harm = fc.oneof(
  fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ cut: fc.integer({ min: 1, max: 80 }) }),
  fc.record({ more: fc.uint8Array({ minLength: 1, maxLength: 8 }) }),
);

function harmed(sealed: Buffer, how: { at?: number; by?: number; cut?: number; more?: Uint8Array }): Buffer {
  if (how.more) return Buffer.concat([sealed, how.more]);
  if (how.cut) return sealed.subarray(0, Math.max(0, sealed.length - how.cut));
  const changed = Buffer.from(sealed);
  changed[how.at! % changed.length] ^= how.by!;
  return changed;
}

export const sealed: readonly Property[] = [
  property(
    'what was sealed is opened again, with a key that was in use then',
    [bytes(200), key, keyId, key, keyId, place],
    (plain, k, id, k2, id2, at) => {
      const one = new AesGcmSealer({ keys: { [id]: k }, current: id }).seal(plain, at);
      const rotated = new AesGcmSealer({ keys: { [id2]: k2, [id]: k }, current: id2 });
      deepStrictEqual(rotated.open(one, at), plain);
      ok(plain.length < 8 || !one.includes(plain), 'it can be read without the key');
    },
  ),
  property('what was harmed is unreadable', [bytes(60), key, keyId, place, harm], (plain, k, id, at, how) => {
    const sealer = new AesGcmSealer({ keys: { [id]: k }, current: id });
    throws(() => sealer.open(harmed(sealer.seal(plain, at), how), at), UnreadableRecordError);
  }),
  property(
    'what was moved, or sealed with another key, is unreadable',
    [bytes(60), key, key, place, place],
    (plain, k, other, at, elsewhere) => {
      const one = new AesGcmSealer({ keys: { a: k }, current: 'a' }).seal(plain, at);
      if (Buffer.compare(k, other) !== 0)
        throws(() => new AesGcmSealer({ keys: { a: other }, current: 'a' }).open(one, at), UnreadableRecordError);
      if (at.recordId !== elsewhere.recordId || at.field !== elsewhere.field)
        throws(() => new AesGcmSealer({ keys: { a: k }, current: 'a' }).open(one, elsewhere), UnreadableRecordError);
    },
  ),
  property(
    'bytes that were never sealed are unreadable',
    [bytes(80), key, place],
    (garbage, k, at) => {
      throws(() => new AesGcmSealer({ keys: { a: k }, current: 'a' }).open(garbage, at), UnreadableRecordError);
    },
    SEALED,
  ),
];
