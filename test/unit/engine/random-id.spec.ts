import { jest } from '@jest/globals';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { randomId } from '../../../lib/engine/identity.js';

it('is a UUID of version 4, and another each time', () => {
  const ids = Array.from({ length: 10_000 }, randomId);
  expect(new Set(ids).size).toBe(ids.length);
  const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  expect(ids.filter((id) => !pattern.test(id))).toEqual([]);
});

it('is another one in a process that was restored a second time from a snapshot of its memory', () => {
  const takeAll = () => Array.from({ length: 256 }, randomId);
  const fill = jest.spyOn(crypto, 'randomFillSync').mockImplementation((bytes) => (bytes as Buffer).fill(7));
  syncBuiltinESMExports();
  try {
    takeAll();
    const [here, there] = [takeAll(), takeAll()];
    expect(fill).toHaveBeenCalled();
    expect(here.filter((id, i) => id === there[i])).toEqual([]);
  } finally {
    fill.mockRestore();
    syncBuiltinESMExports();
  }
  // With bytes of the generator again, for the tests after this one.
  takeAll();
});
