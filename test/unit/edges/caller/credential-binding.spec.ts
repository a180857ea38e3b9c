import { randomBytes } from 'node:crypto';
import { CredentialBinding } from '../../../../lib/edges/caller/caller-digests.js';
import { bindCredential, digestIdentity } from '../../../../lib/engine/identity.js';

const identity = digestIdentity({ scope: '', endpoint: 'POST /payments', key: 'k' });
const another = digestIdentity({ scope: '', endpoint: 'POST /payments', key: 'k2' });
const [old, current] = [randomBytes(32), randomBytes(32)];

const plain = new CredentialBinding(undefined);
const before = new CredentialBinding({ keys: { old }, current: 'old' });
const announced = new CredentialBinding({ keys: { old, current }, current: 'old' });
const rotated = new CredentialBinding({ keys: { old, current }, current: 'current' });
const after = new CredentialBinding({ keys: { current }, current: 'current' });

test('no credential, no binding', () => {
  expect([plain, rotated].map((one) => one.of(identity, undefined))).toEqual([{ binding: null }, { binding: null }]);
});

test('without encryption: one of the record, and no other is known', () => {
  expect(plain.of(identity, 'Basic x')).toEqual({ binding: bindCredential(identity, 'Basic x') });
  expect(plain.of(another, 'Basic x').binding).not.toEqual(plain.of(identity, 'Basic x').binding);
});

test('with encryption: it takes the key, and is not the key that seals', () => {
  const { binding } = before.of(identity, 'Basic x');
  expect(binding).not.toEqual(bindCredential(identity, 'Basic x'));
  expect(binding).not.toEqual(bindCredential(identity, 'Basic x', old));
  expect(binding).toEqual(announced.of(identity, 'Basic x').binding);
  expect(binding).not.toEqual(rotated.of(identity, 'Basic x').binding);
  expect(before.of(another, 'Basic x').binding).not.toEqual(binding);
});

test.each([
  ['the old key, after the rotation', before, rotated, true],
  ['the new key, on an instance that still binds with the old one', rotated, announced, true],
  ['no key, as before there was encryption', plain, before, true],
  ['a key that is gone', before, after, false],
  ['a key that is not there yet', rotated, before, false],
])('what was bound with %s', (_, then, now, known) => {
  const binding = (who: string, to = identity) => then.of(to, who).binding!;
  const { isFormerBinding } = now.of(identity, 'Basic x');
  expect(isFormerBinding?.(binding('Basic x'))).toBe(known);
  expect(isFormerBinding?.(binding('Basic y'))).toBe(false);
  expect(isFormerBinding?.(binding('Basic x', another))).toBe(false);
});
