/** What handlers returned. */
export const VALUES: [unknown][] = [
  [undefined],
  [Number.NaN],
  [new Date(Number.NaN)],
  [JSON.parse('{"__proto__":{"a":1}}')],
  [Object.fromEntries([['__proto__', new Date(1)]])],
  [Object.fromEntries([['__proto__', new Map([['a', 1n]])]])],
  [new Map([[new Set([1n]), new Map([[undefined, [undefined]]])]])],
  [{ '': { '': [new Date(2)] } }],
  [[[[undefined]]]],
  ['\ud800'],
];
