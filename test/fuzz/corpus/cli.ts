/** Arguments, and a database URL. */
export const CALLS: [string[], string | undefined][] = [
  [['list', '--before', '+275760-09-13T00:00:00.001Z'], undefined],
  [['list', '--limit', '9007199254740993'], undefined],
  [['list', '--scope='], undefined],
  [['list', '--status', '__proto__'], undefined],
  [['show', '--key', '', '--endpoint', ''], undefined],
  [['resolve', '--value', '{"__proto__":1}', '--rerun'], undefined],
  [['resolve', '0f8fad5b-d9cb-469f-a165-70867728950e', '--status', '201', '--header', '__proto__: 1'], undefined],
  [['migrations', 'constructor'], undefined],
  [['--', 'list'], undefined],
  [['list', '--timeout', '0.0000001ms'], 'sqlite:/nonexistent/records.sqlite'],
  [['list', '--timeout', '999999999d'], 'sqlite:/nonexistent/records.sqlite'],
];

export const NUMBERS: [string][] = [
  ['0'],
  ['9007199254740991'],
  ['9007199254740992'],
  ['1e3'],
  ['0x10'],
  [' 1'],
  ['1\n'],
  [''],
];

export const DURATIONS: [string][] = [
  ['0s'],
  ['0'],
  ['.5s'],
  ['1.s'],
  ['1e3s'],
  ['1 s'],
  ['1S'],
  ['9'.repeat(400)],
  [`${'9'.repeat(98)}d`],
  [`${'9'.repeat(400)}d`],
  ['0.0s'],
];
