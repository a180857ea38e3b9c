import { createHash, createHmac, randomBytes } from 'node:crypto';
import { ScopeDigest } from '../../../../lib/edges/caller/caller-digests.js';

const keys = { old: randomBytes(32), new: randomBytes(32) };

describe('The digest of a scope', () => {
  test('is the same in every release', () => {
    expect(new ScopeDigest({}).of('7')?.toString('hex')).toBe('383a48f584c3c961753f32f938d6a27b');
    expect(new ScopeDigest({ namespace: 'shop' }).of('7')?.toString('hex')).toBe('d33b473bf3746733c498ffda18f3ea93');
  });

  test('distinguishes scopes and namespaces, wherever the text is cut', () => {
    const digests = [
      new ScopeDigest({}).of('7'),
      new ScopeDigest({}).of('8'),
      new ScopeDigest({}).of('n4:shop1:7'),
      new ScopeDigest({ namespace: 'shop' }).of('7'),
      new ScopeDigest({ namespace: 'shop1:7' }).of('7'),
      new ScopeDigest({}).of('\ud83d'),
      new ScopeDigest({}).of('\ud83e'),
      new ScopeDigest({}).of('\ufffd'),
    ].map((digest) => digest!.toString('hex'));
    expect(new Set(digests).size).toBe(digests.length);
    expect(digests.every((digest) => digest.length === 32)).toBe(true);
  });

  test('is none where there is no scope', () => {
    expect(new ScopeDigest({}).of('')).toBeNull();
  });

  test('cannot be computed from the scope alone, with encryption', () => {
    const digest = new ScopeDigest({ encryption: { keys, current: 'new' } }).of('7')!;
    expect(digest).not.toEqual(new ScopeDigest({}).of('7'));
    for (const key of Object.values(keys)) {
      expect(digest).not.toEqual(createHmac('sha256', key).update('s1:7').digest().subarray(0, 16));
    }
    expect(digest).not.toEqual(createHash('sha256').update('7').digest().subarray(0, 16));
  });

  test('is looked for under every key that may have made it', () => {
    const plain = new ScopeDigest({}).of('7');
    const before = new ScopeDigest({ encryption: { keys: { old: keys.old }, current: 'old' } }).of('7');
    const now = new ScopeDigest({ encryption: { keys, current: 'new' } });
    expect(now.all('7')).toEqual([now.of('7'), before, plain]);
    expect(new ScopeDigest({}).all('7')).toEqual([plain]);
  });
});
