const KEY = new Uint8Array(32);
const PLACE = { recordId: '1b4e28ba-2fa1-41d2-883f-0016d3cca427', field: 'body' };

/** Bytes, a key and a place. */
export const SEALED: [Buffer, Uint8Array, typeof PLACE][] = [
  [Buffer.alloc(0), KEY, PLACE],
  [Buffer.from([1]), KEY, PLACE],
  [Buffer.from([1, 255]), KEY, PLACE],
  [Buffer.from([1, 1, 0x61]), KEY, PLACE],
  [Buffer.from([1, 9, ...Buffer.from('__proto__'), ...Buffer.alloc(40)]), KEY, PLACE],
  [Buffer.from([1, 1, 0x61, ...Buffer.alloc(12 + 4)]), KEY, PLACE],
];
