import fc from 'fast-check';
import { bindFingerprint, deriveUuid, digestIdentity } from '../../../lib/engine/identity.js';

const identity = fc.record({ scope: fc.string(), endpoint: fc.string(), key: fc.string() });

test('different identities have different digests, wherever the text is cut', () => {
  fc.assert(
    fc.property(identity, identity, (a, b) => {
      const same = a.scope === b.scope && a.endpoint === b.endpoint && a.key === b.key;
      expect(digestIdentity(a).recordId === digestIdentity(b).recordId).toBe(same);
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.nat(8), fc.nat(8), (text, i, j) => {
      const cut = (at: number) =>
        digestIdentity({ scope: text.slice(0, at), endpoint: text.slice(at), key: 'k' }).recordId;
      const [a, b] = [Math.min(i, text.length), Math.min(j, text.length)];
      expect(cut(a) === cut(b)).toBe(a === b);
    }),
  );
});

test('a record id is a UUID made of the first half of the digest', () => {
  const { recordId, full } = digestIdentity({ scope: 's', endpoint: 'POST /x', key: 'k' });
  expect(recordId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  expect(recordId.replaceAll('-', '')).toBe(full.toString('hex').slice(0, 32));
  expect(full).toHaveLength(32);
});

test('a fingerprint binds the whole identity', () => {
  const a = digestIdentity({ scope: '', endpoint: 'e', key: 'a' });
  const b = digestIdentity({ scope: '', endpoint: 'e', key: 'b' });
  expect(bindFingerprint(a, 'request')).toEqual(bindFingerprint(a, 'request'));
  expect(bindFingerprint(a, 'request')).not.toEqual(bindFingerprint(b, 'request'));
  expect(bindFingerprint(a, 'request')).not.toEqual(bindFingerprint(a, 'another'));
});

test('derived keys: the same for the same record and name, RFC 9562 version 8, and not to be guessed', () => {
  const derived = deriveUuid('id', 'key', 'charge');
  expect(derived).toBe(deriveUuid('id', 'key', 'charge'));
  expect(derived).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const others = [
    deriveUuid('id', 'key', 'refund'),
    deriveUuid('id2', 'key', 'charge'),
    deriveUuid('id', 'key2', 'charge'),
  ];
  expect(new Set([derived, ...others]).size).toBe(4);
});
