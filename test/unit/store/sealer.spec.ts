import { randomBytes } from 'node:crypto';
import { UnreadableRecordError } from '../../../lib/engine/errors.js';
import { AesGcmSealer, noSealer } from '../../../lib/store/sealer.js';

describe('AesGcmSealer', () => {
  const keys = { old: randomBytes(32), new: randomBytes(32) };
  const sealer = new AesGcmSealer({ keys, current: 'new' });
  const place = { recordId: '1b4e28ba-2fa1-41d2-883f-0016d3cca427', field: 'body' };
  const plain = Buffer.from('card 4711');

  it('opens what it sealed, and shows nothing of it', () => {
    const sealed = sealer.seal(plain, place);
    expect(sealed.includes('4711')).toBe(false);
    expect(sealer.open(sealed, place)).toEqual(plain);
    expect(sealer.open(sealer.seal(Buffer.alloc(0), place), place)).toEqual(Buffer.alloc(0));
    expect(sealer.seal(plain, place)).not.toEqual(sealed);
  });

  it('opens what an older key sealed', () => {
    const sealed = new AesGcmSealer({ keys, current: 'old' }).seal(plain, place);
    expect(sealer.open(sealed, place)).toEqual(plain);
    const rotated = new AesGcmSealer({ keys: { new: keys.new }, current: 'new' });
    expect(() => rotated.open(sealed, place)).toThrow(UnreadableRecordError);
  });

  it('does not open what was moved to another record or field', () => {
    const sealed = sealer.seal(plain, place);
    expect(() => sealer.open(sealed, { ...place, field: 'head' })).toThrow(UnreadableRecordError);
    const other = { ...place, recordId: '00000000-2fa1-41d2-883f-0016d3cca427' };
    expect(() => sealer.open(sealed, other)).toThrow(UnreadableRecordError);
  });

  it('does not open what was changed in any byte, or cut short', () => {
    const sealed = sealer.seal(plain, place);
    for (let i = 0; i < sealed.length; i++) {
      const changed = Buffer.from(sealed);
      changed[i] ^= 1;
      expect(() => sealer.open(changed, place)).toThrow(UnreadableRecordError);
      expect(() => sealer.open(sealed.subarray(0, i), place)).toThrow(UnreadableRecordError);
    }
  });

  it('says why it does not open something', () => {
    const causeOf = (sealed: Buffer) => {
      try {
        return sealer.open(sealed, place);
      } catch (error) {
        return (error as Error).cause;
      }
    };
    expect(causeOf(plain)).toEqual(new Error('not a sealed value'));
    const rotated = new AesGcmSealer({ keys: { gone: randomBytes(32) }, current: 'gone' }).seal(plain, place);
    expect(causeOf(rotated)).toEqual(new Error('unknown encryption key "gone"'));
    // Not a name that every object knows.
    const inherited = Buffer.concat([Buffer.from([1, 8]), Buffer.from('toString'), randomBytes(40)]);
    expect(causeOf(inherited)).toEqual(new Error('unknown encryption key "toString"'));
  });

  it('takes no tag that is shorter than the others', () => {
    const sealed = sealer.seal(plain, place);
    expect(() => sealer.open(sealed.subarray(0, 2 + 'new'.length + 12 + 4), place)).toThrow(UnreadableRecordError);
  });

  it('can be done without', () => {
    expect(noSealer.open(noSealer.seal(plain, place), place)).toEqual(plain);
  });
});
