/** Names and values of queries. */
export const QUERIES: [[string, string][]][] = [
  [[['__proto__', 'x']]],
  [[['constructor', 'x']]],
  [[['status', '']]],
  [[['operation', '\0']]],
  [[['id', '0f8fad5b-d9cb-469f-a165-70867728950e']]],
  [[['cursor', '']]],
  [
    [
      ['limit', '1'],
      ['limit', '2'],
    ],
  ],
];

/** Actions and bodies. */
export const BODIES: [string, unknown][] = [
  ['forget', null],
  ['forget', { reason: 'x', token: Infinity }],
  ['resolve', { reason: 'x', outcome: { status: 200, headers: { __proto__: 'x' } } }],
  ['resolve', { reason: 'x', outcome: JSON.parse('{"status":200,"headers":{"__proto__":"x"}}') as unknown }],
  [
    'forget',
    {
      action: 'forget',
      reason: 'x',
      ids: ['0f8fad5b-d9cb-469f-a165-70867728950e'],
      tokens: JSON.parse('{"__proto__":7}') as unknown,
    },
  ],
  ['toString', { action: 'toString', reason: 'x', ids: [] }],
];
