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
 * Canonical JSON (RFC 8785): members sorted by the UTF-16 code units of their names, no white space, numbers and strings as
 * JavaScript writes them; an empty text for what JSON leaves out. What the RFC refuses and parsers let through nevertheless
 * (half a surrogate pair, a number beyond a double, a bigint that a GraphQL scalar has made) is written in a form of our own,
 * as a request with it is a request like others. Without recursion: a body may be nested deeper than the stack is.
 *
 * @throws TypeError for a value that contains itself, or a promise: all of them would be the same text
 */
export function canonicalJson(value: unknown): string {
  return isCanonical(value, LEVELS_LOOKED_INTO) ? JSON.stringify(value) : writeCanonical(value, settled);
}

/** Down to so many levels, JSON is looked through before it is written. */
const LEVELS_LOOKED_INTO = 16;

/**
 * Returns whether `JSON.stringify` writes a value as canonical JSON: it is plain, and its members are in their order already. Bodies
 * of small requests often are.
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

/** As {@link canonicalJson}, of what `written` makes of each value. */
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

/** Sorts a few names in place, which costs a request less than `sort()`: that copies them twice. */
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
 * As JSON.stringify takes it: by its own `toJSON`, and without the object around a primitive. Maps, Sets, URLSearchParams and the
 * like become lists: JSON.stringify writes them all as `{}`, and two requests that differ by them alone would be one.
 */
export function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { toJSON } = value as { toJSON?: unknown };
  const told: unknown = typeof toJSON === 'function' ? toJSON.call(value) : value;
  const isBoxed = told instanceof String || told instanceof Number || told instanceof Boolean;
  if (isBoxed) return told.valueOf();
  if (told instanceof ArrayBuffer) return new Uint8Array(told);
  return isCollection(told) ? [...told] : told;
}

/** An iterator is its own, and can be read once: it is left to its reader. */
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
 * `undefined` for what JSON leaves out. The name of the member that stands for a number beyond a double is escaped, which canonical
 * JSON never is: `1e999` must not be the same text as an object that a client sends.
 */
function leaf(value: unknown): string | undefined {
  const isBeyond = typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value));
  return isBeyond ? String.raw`{"\u0062eyondDouble":"${value}"}` : JSON.stringify(value);
}
