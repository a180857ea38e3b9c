/** Pairs of JSON texts. */
export const JSON_TEXTS: [string, string][] = [
  // Both were {"beyondDouble":"Infinity"}.
  ['1e999', '{"beyondDouble":"Infinity"}'],
  ['{"a":-1e999}', '{"a":{"beyondDouble":"-Infinity"}}'],
  ['[{"beyondDouble":"Infinity","a":1}]', '[{"a":1,"beyondDouble":"Infinity"}]'],
  ['{"beyondDouble":1}', '{"beyondDouble":1e0}'],
  ['{"__proto__":1}', '{}'],
  ['{"10":1,"9":2}', '{"9":2,"10":1}'],
  ['-0', '0'],
  ['"\\ud800"', '"\\ud801"'],
  ['{"toJSON":1}', '{"toJSON":2}'],
];

/** Pairs of queries. */
export const QUERIES: [string, string][] = [
  // Latin-1, as old forms send it: Fastify hands such values on as they came, and both were U+FFFD.
  ['name=caf%E9', 'name=caf%E8'],
  ['%FF', '%FE'],
  ['a=%FF', 'a=%ef%bf%bd'],
  ['a=1&a=2', 'a=2&a=1'],
  ['a', 'a='],
  ['a=+', 'a=%2B'],
  // Only the first question mark begins the query.
  ['?a=1', 'a=1'],
];
