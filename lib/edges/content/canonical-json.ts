/** An object or an array that is being written. */
interface Open {
  readonly value: object;
  /** What `value` was made of. */
  readonly source: unknown;
  /** Of an object, sorted; of an array, none. */
  readonly names: readonly string[] | undefined;
  readonly length: number;
  next: number;
  isEmpty: boolean;
}

/**
 * Writes canonical JSON (RFC 8785): members sorted by the UTF-16 code units of their names, no white space, numbers and strings as
 * JavaScript writes them. Returns an empty text for a value that JSON omits.
 *
 * Parsers accept values that the RFC refuses: half a surrogate pair, a number beyond a double, the bigint of a GraphQL scalar. They get
 * a form of their own, because a request with them must run, too. Works without recursion, because a client could nest a body deeper
 * than the stack.
 *
 * @throws TypeError for a value that contains itself, and for a promise, because all promises would be the same text
 */
export function canonicalJson(value: unknown): string {
  return isCanonical(value, LEVELS_LOOKED_INTO) ? JSON.stringify(value) : writeCanonical(value, settled);
}

/** The depth to which a value is checked for being canonical already. */
const LEVELS_LOOKED_INTO = 16;

/**
 * Returns whether `JSON.stringify` writes a value as canonical JSON, because it is plain and its members are sorted. Small bodies often
 * are, and this costs a request less.
 */
function isCanonical(value: unknown, levels: number): boolean {
  if (typeof value !== 'object') {
    return typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
  }
  if (value === null) return true;
  if (levels === 0 || 'toJSON' in value) return false;
  if (Array.isArray(value)) return value.every((member) => isCanonical(member, levels - 1));
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  let last = '';
  for (const name in value) {
    if (name < last || !isCanonical((value as Record<string, unknown>)[name], levels - 1)) return false;
    last = name;
  }
  return true;
}

/** Writes canonical JSON of what `written` returns for each value. */
export function writeCanonical(value: unknown, written: (value: unknown) => unknown): string {
  const root = written(value);
  if (typeof root !== 'object' || root === null) return leaf(root) ?? '';
  const stack = [openUp(root, value)];
  let within: Set<unknown> | undefined;
  let json = Array.isArray(root) ? '[' : '{';

  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    if (top.next === top.length) {
      json += top.names ? '}' : ']';
      within?.delete(top.source);
      stack.pop();
      continue;
    }
    const name = top.names?.[top.next];
    const source = (top.value as Record<string | number, unknown>)[name ?? top.next];
    const member = written(source);
    top.next++;
    const isNested = typeof member === 'object' && member !== null;
    const text = isNested ? '' : leaf(member);
    if (name !== undefined && text === undefined) continue;
    json += top.isEmpty ? '' : ',';
    top.isEmpty = false;
    if (name !== undefined) json += `${JSON.stringify(name)}:`;
    if (!isNested) {
      json += text ?? 'null';
      continue;
    }
    within ??= new Set([value]);
    if (within.has(source)) throw new TypeError('a value that contains itself is no JSON');
    within.add(source);
    stack.push(openUp(member, source));
    json += Array.isArray(member) ? '[' : '{';
  }
  return json;
}

function openUp(value: object, source: unknown): Open {
  const names = Array.isArray(value) ? undefined : sorted(Object.keys(value));
  return { value, source, names, length: names?.length ?? (value as unknown[]).length, next: 0, isEmpty: true };
}

/** Sorts a few names in place. `sort()` copies them twice, which costs a request more. */
function sorted(names: string[]): string[] {
  if (names.length > 16) return names.sort();
  for (let i = 1; i < names.length; i++) {
    const name = names[i];
    let at = i;
    for (; at > 0 && names[at - 1] > name; at--) names[at] = names[at - 1];
    names[at] = name;
  }
  return names;
}

/**
 * Returns what JSON.stringify writes for a value: the result of `toJSON()`, and the primitive in a wrapper object. Maps, Sets,
 * URLSearchParams and the like become lists. JSON.stringify writes `{}` for all of them, and different requests would be equal.
 */
export function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { toJSON } = value as { toJSON?: unknown };
  const written: unknown = typeof toJSON === 'function' ? toJSON.call(value) : value;
  const isBoxed = written instanceof String || written instanceof Number || written instanceof Boolean;
  if (isBoxed) return written.valueOf();
  if (written instanceof ArrayBuffer) return new Uint8Array(written);
  return isCollection(written) ? [...written] : written;
}

/** Returns whether a value can be iterated more than once. An iterator can not, and is left to its reader. */
function isCollection(value: unknown): value is Iterable<unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return false;
  const { [Symbol.iterator]: iterate } = value as { [Symbol.iterator]?: () => unknown };
  return typeof iterate === 'function' && Object.keys(value).length === 0 && iterate.call(value) !== value;
}

function settled(value: unknown): unknown {
  const { then } = (value ?? {}) as { then?: unknown };
  if (typeof then === 'function') throw new TypeError('a promise is no JSON: wait for it first');
  return plain(value);
}

/**
 * Writes a value without members; `undefined` if JSON omits it. The name that stands for a number beyond a double is escaped, which
 * canonical JSON never does, so that no object of a client has the same text as `1e999`.
 */
function leaf(value: unknown): string | undefined {
  const isBeyond = typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value));
  return isBeyond ? String.raw`{"\u0062eyondDouble":"${value}"}` : JSON.stringify(value);
}
