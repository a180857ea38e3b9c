const bytes = (text: string) => Buffer.from(text);

/** Status, head and body of rows. */
export const HEADS: [number, Buffer | null, Buffer | null][] = [
  [200, bytes('null'), null],
  [200, bytes('{}'), null],
  [200, bytes('{"headers":{}}'), null],
  [200, bytes('{"headers":[["a"]]}'), null],
  [200, bytes('{"headers":[["a\\n","b"]]}'), null],
  [200, bytes('{"headers":[["a","b"],["c","d\\r\\ne: f"]]}'), null],
  [200, bytes('{"headers":[],"removed":7}'), null],
  [200, bytes('{"headers":[],"statusMessage":"a\\nb"}'), null],
  [200, bytes('{"headers":[["Content-Length","7"]]}'), bytes('x')],
  [200, bytes('{"headers":[["Content-Encoding","gzip"]]}'), bytes('no gzip')],
  [1, null, null],
  [99, null, null],
  [1_000, null, null],
];

/** Head and body of rows whose answer is a value. */
export const ANSWERS: [Buffer, Buffer | null][] = [
  [bytes('null'), null],
  [bytes('{"kind":"value","types":[[["a"],"date"]]}'), null],
  // Wrote to the prototype of all objects.
  [bytes('{"kind":"value","types":[[["__proto__","polluted"],"date"]]}'), bytes('{}')],
  [bytes('{"kind":"value","types":[[["constructor","prototype","polluted"],"undefined"]]}'), bytes('{}')],
  [bytes('{"kind":"value","types":[[["a"],"toString"]]}'), bytes('{"a":1}')],
  [bytes('{"kind":"value","types":[[["a"],"bigint"]]}'), bytes('{"a":"x"}')],
  [bytes('{"kind":"values"}'), bytes('{"length":3}')],
  [bytes('{"kind":"error"}'), null],
  [bytes('{"kind":"error","error":{"status":-1}}'), null],
];
