/** Values of the key header. */
export const HEADERS: [string][] = [
  [''],
  ['"'],
  ['""'],
  ['"a'],
  ['a"b"'],
  ['"a\\'],
  ['"a\\b"'],
  ['"abc";a=1.2345'],
  ['"abc";a=1234567890123456'],
  ['"abc";*'],
  ['"abc"; a;  b'],
  ['"abc";a=""'],
  ['"abc";a=::'],
  ['"abc";a=@1.5'],
  ['"abc";A'],
  ['"abc" ;a'],
  ['\u00a0"abc"'],
  ['"abc"\u0085'],
  ['"\u007f"'],
  [`"${'x'.repeat(256)}"`],
  [`"${'\\"'.repeat(255)}"`],
];

/** Values of `Prefer`. */
export const PREFERENCES: [string][] = [['wait=1e9'], ['wait=-1'], ['wait=999999999999999'], ['wait=0.001'], ['wait']];

/** Values of `Retry-After`. */
export const RETRY_AFTERS: [string][] = [
  ['9'.repeat(308)],
  ['9'.repeat(400)],
  ['Fri, 31 Feb 2026 08:49:37 GMT'],
  ['Thu, 01 Jan 1970 00:00:00 GMT'],
  [' GMT'],
];
