import fc from 'fast-check';
import { identityParts } from '../../fuzz/identity-parts.js';
import { bindCredential, bindFingerprint, deriveUuid, digestIdentity } from '../../../lib/engine/identity.js';

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

test('so have identities of different namespaces and hosts, and those with half a surrogate pair', () => {
  fc.assert(
    fc.property(fc.array(identityParts, { minLength: 20, maxLength: 20 }), (identities) => {
      const texts = new Set(
        identities.map((one) => JSON.stringify([one.namespace, one.host, one.scope, one.endpoint, one.key])),
      );
      expect(new Set(identities.map((one) => digestIdentity(one).recordId)).size).toBe(texts.size);
    }),
  );
  const ids = ['\ud800', '\ud801', '\ufffd'].map(
    (scope) => digestIdentity({ scope, endpoint: 'e', key: 'k' }).recordId,
  );
  expect(new Set(ids).size).toBe(3);
});

test('without a namespace and a host, digests are those of version 0.1: another one would make every key new', () => {
  const { recordId } = digestIdentity({ scope: 'ada', endpoint: 'POST /é', key: 'k' });
  expect(recordId).toBe('e84868f3-aa62-8045-2d21-e11f72000395');
  expect(digestIdentity({ namespace: undefined, scope: 'ada', endpoint: 'POST /é', key: 'k' }).recordId).toBe(recordId);
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

test('a binding: the same for the same record, credential and secret', () => {
  const [a, b] = ['a', 'b'].map((key) => digestIdentity({ scope: '', endpoint: 'e', key }));
  const secrets = [undefined, Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const bindings = [a, b].flatMap((identity) =>
    ['Bearer x', 'Bearer y'].flatMap((credential) =>
      secrets.map((secret) => {
        const binding = bindCredential(identity, credential, secret);
        expect(binding).toEqual(bindCredential(identity, credential, secret));
        expect(binding).toHaveLength(16);
        return binding.toString('hex');
      }),
    ),
  );
  expect(new Set(bindings).size).toBe(12);
});
