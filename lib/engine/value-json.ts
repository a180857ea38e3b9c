/** The type of a value that JSON cannot carry. */
type TypeName = 'date' | 'bigint' | 'number' | 'buffer' | 'bytes' | 'map' | 'set' | 'error' | 'undefined';

/** An object within itself, as entities of a relation know each other. Its JSON is the way up to it, such as `../..`. */
const ANCESTOR = 'ancestor';

/** The path from the root to a value that JSON cannot carry, and its type. */
export type TypedPlace = readonly [path: readonly string[], type: TypeName | typeof ANCESTOR];

/** A value as JSON, and the types that JSON lost beside it: the JSON itself stays readable for operators. */
export interface ValueJson {
  /** `undefined` for undefined, functions and symbols. */
  readonly json: string | undefined;
  /** An outer value before those inside it. Absent where there are none. */
  readonly types?: readonly TypedPlace[];
  /** Instances of {@link ValueClasses}. Absent where there are none. */
  readonly classes?: readonly (readonly [path: readonly string[], name: string])[];
}

/** Classes whose instances become instances again, by names that all processes know. */
export interface ValueClasses {
  nameOf(instance: object): string | undefined;
  prototypeOf(name: string): object | undefined;
}

type Holder = Record<string, unknown>;

const TYPES: Record<TypeName, { encode(value: never, json: never): unknown; decode(json: never): unknown }> = {
  date: {
    encode: (date: Date) => (Number.isNaN(date.getTime()) ? null : date.toISOString()),
    decode: (text: string | null) => new Date(text ?? Number.NaN),
  },
  bigint: { encode: String, decode: (text: string) => BigInt(text) },
  number: { encode: String, decode: Number },
  buffer: {
    encode: (bytes: Buffer) => bytes.toString('base64'),
    decode: (text: string) => Buffer.from(text, 'base64'),
  },
  bytes: {
    encode: (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64'),
    decode: (text: string) => new Uint8Array(Buffer.from(text, 'base64')),
  },
  map: {
    encode: (map: Map<unknown, unknown>) => [...map],
    decode: (entries: [unknown, unknown][]) => new Map(entries),
  },
  set: { encode: (set: Set<unknown>) => [...set], decode: (members: unknown[]) => new Set(members) },
  /** As of `Promise.allSettled()`. Its stack is never stored, and of one with a `toJSON()`, as GraphQL's, nothing but that. */
  error: {
    encode: (error: Error, json: object) => Object.assign({}, json, { name: error.name, message: error.message }),
    decode: (json: Error) => {
      const { name, message, ...members } = json;
      const error = new Error(message);
      const prototype = Object.getPrototypeOf(json) as object;
      // A class that all processes know.
      if (prototype !== Object.prototype) Object.setPrototypeOf(error, prototype);
      Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
      return Object.defineProperties(error, Object.getOwnPropertyDescriptors(members));
    },
  },
  undefined: { encode: () => null, decode: () => undefined },
};

/**
 * Writes a value as `JSON.stringify()` does, with `toJSON()`. Dates, bigints, numbers that are not finite, bytes, Maps, Sets, errors, and
 * undefined in arrays become text, arrays or objects, and their types are listed.
 *
 * @param known the classes whose instances are listed, too. Those of other classes become plain objects
 * @throws TypeError for a Map, a Set or an error that contains itself, and for a value that JSON would write as `{}` though it is not empty
 */
export function toValueJson(value: unknown, known?: ValueClasses): ValueJson {
  const types: TypedPlace[] = [];
  const classes: [string[], string][] = [];
  /** The holder and name of each object visited so far. */
  const places = new Map<unknown, { readonly holder: unknown; readonly name: string }>();
  /** One object for each Map, Set and error: among new ones, JSON would not find that one contains itself, and go round until the stack is full. */
  const encoded = new Map<unknown, unknown>();
  const encode = (type: TypeName, original: unknown, member: unknown) => {
    if (!encoded.has(original)) encoded.set(original, TYPES[type].encode(original as never, member as never));
    return encoded.get(original);
  };

  const pathOf = (holder: unknown, name: string): string[] => {
    const path = [name];
    for (let at = places.get(holder); at; at = places.get(at.holder)) path.unshift(at.name);
    return path.slice(1);
  };

  /** Returns the way up from a holder to an object that contains it. */
  const wayUp = (object: unknown, holder: unknown): string | undefined => {
    if (!places.has(object)) return undefined;
    let way = '..';
    for (let at = holder; at !== undefined; at = places.get(at)?.holder) {
      if (at === object) return way;
      way += '/..';
    }
    return undefined;
  };

  const json = JSON.stringify(value, function (this: Holder, name: string, member: unknown) {
    const type = typeOf(this[name], member, this);
    const written = type ? encode(type, this[name], member) : member;
    if (type) types.push([pathOf(this, name), type]);
    if (typeof written !== 'object' || written === null) return written;
    const way = wayUp(written, this);
    if (way !== undefined) {
      if (type) throw new TypeError(`${Object.prototype.toString.call(this[name])} contains itself, and is no JSON`);
      types.push([pathOf(this, name), ANCESTOR]);
      return way;
    }
    if (isHollow(written))
      throw new TypeError(`${Object.prototype.toString.call(written)} is no JSON: read what it holds`);
    places.set(written, { holder: this, name });
    const className = written === this[name] || type === 'error' ? known?.nameOf(this[name] as object) : undefined;
    if (className !== undefined) classes.push([pathOf(this, name), className]);
    return written;
  }) as string | undefined;
  return { json, ...(types.length > 0 && { types }), ...(classes.length > 0 && { classes }) };
}

/**
 * Reverses {@link toValueJson}.
 *
 * @throws TypeError, SyntaxError for anything else
 */
export function fromValueJson({ json, types = [], classes = [] }: ValueJson, known?: ValueClasses): unknown {
  if (json === undefined) return undefined;
  const root: Holder = { '': JSON.parse(json) as unknown };
  const placeOf = (path: readonly string[]) => {
    const places = ['', ...path];
    const name = places.pop()!;
    return { name, holder: places.reduce((at, step) => memberOf(at, step) as Holder, root) };
  };
  // Before the types, which put Maps and Sets in the place of the arrays that these paths lead through.
  for (const [path, className] of known ? classes : []) {
    const { holder, name } = placeOf(path);
    const instance = memberOf(holder, name);
    const prototype = known!.prototypeOf(className);
    if (prototype && typeof instance === 'object' && instance) Object.setPrototypeOf(instance, prototype);
  }
  for (const [path, type] of [...types].reverse()) {
    const { holder, name } = placeOf(path);
    const member = memberOf(holder, name);
    const above = type === ANCESTOR ? placeOf(path.slice(0, -String(member).split('/').length)) : undefined;
    holder[name] = above ? memberOf(above.holder, above.name) : TYPES[type as TypeName].decode(member as never);
  }
  return root[''];
}

/**
 * Returns whether JSON would lose what an object holds: the body of a response, a file, a stream, an Observable. A retry would get `{}` in
 * its place, as if nothing had been paid. Such objects of the platform have a tag and no members; those of packages have methods. Promises
 * are left as they are, because entities have them as lazy relations.
 */
function isHollow(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null || Array.isArray(value)) return false;
  const { then, pipe } = value as { then?: unknown; pipe?: unknown };
  if (typeof then === 'function') return false;
  if (typeof pipe === 'function') return true;
  return Symbol.toStringTag in value && Object.keys(value).length === 0;
}

/** Reads own members only: with `__proto__`, a row that was tampered with would change the prototype of all objects. */
function memberOf(holder: Holder, name: string): unknown {
  if (!Object.hasOwn(holder, name)) throw new TypeError('a type of what is not in the value');
  return holder[name];
}

/** @param member the result of `toJSON()` on `original`, where it has one */
function typeOf(original: unknown, member: unknown, holder: Holder): TypeName | undefined {
  switch (typeof original) {
    case 'bigint':
      return 'bigint';
    case 'number':
      return Number.isFinite(original) ? undefined : 'number';
    case 'undefined':
      return Array.isArray(holder) ? 'undefined' : undefined;
    case 'object':
      if (original instanceof Date) return 'date';
      if (Buffer.isBuffer(original)) return 'buffer';
      if (original instanceof Error && typeof member === 'object') return 'error';
      if (original !== member) return undefined;
      if (original instanceof Uint8Array) return 'bytes';
      if (original instanceof Map) return 'map';
      return original instanceof Set ? 'set' : undefined;
    default:
      return undefined;
  }
}
