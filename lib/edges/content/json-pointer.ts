/**
 * JSON pointers (RFC 6901) in which `*` matches any member or index. In names, `~0` stands for `~`, `~1` for `/`, and `~2` for `*`. A
 * pointer that begins with `?` leads to a query parameter instead of the body: `?token`.
 *
 * All options that take pointers use the matcher of this file (`below`), so that a pointer means the same in each of them.
 */
import type { FingerprintOptions } from '../../options/idempotency-options.js';
import { plain } from './canonical-json.js';

const ANY = Symbol('any member or index');

/** The names of a pointer, beginning at the root. */
type Path = readonly (string | typeof ANY)[];

/** The first character of a pointer: into the content, or to a query parameter. */
type Root = '/' | '?';

/** Returns a copy of `value` with `replacement` (or nothing) where the pointers lead; `value` itself if they lead nowhere. */
export function withoutPointers(value: unknown, pointers: readonly string[], replacement?: unknown): unknown {
  const paths = pathsOf('/', pointers);
  return paths.length === 0 ? value : withoutFields(without(value, paths, replacement), paths, replacement);
}

export type Comparison = Pick<FingerprintOptions, 'ignore' | 'only'>;

/**
 * Returns the part of a request's content that is compared: what `only` points to, without what `ignore` points to. If `only` leads
 * nowhere, the whole content is compared, because a misspelt pointer must not make all requests equal.
 */
export function comparedContent(value: unknown, { ignore = [], only = [] }: Comparison): unknown {
  const paths = pathsOf('/', only);
  const chosen = paths.length > 0 ? onlyAt(value, paths) : undefined;
  return withoutPointers(chosen === undefined ? value : chosen, ignore);
}

/** Returns whether a value at this place may be compared, before its members are known. */
export function pointInto({ ignore = [], only = [] }: Comparison, names: readonly string[]): boolean {
  const left = names.reduce((paths, name) => below(paths, name), pathsOf('/', only));
  return left.length > 0 && !reach(pathsOf('/', ignore), names);
}

/**
 * Returns whether a pointer leads to the query parameter of that name, or to what holds it: `?card` reaches `card[number]` as
 * well, which Express can make a member of `card`.
 */
export function reachesParameter(pointers: readonly string[], name: string): boolean {
  const paths = pathsOf('?', pointers);
  return reach(paths, [name]) || reach(paths, partsOf(name));
}

/** Returns the parts of a name in brackets: `card` and `number` of `card[number]`. */
function partsOf(name: string): string[] {
  return name.replaceAll(']', '').split('[');
}

export function pointIntoContent(pointers: readonly string[]): boolean {
  return pointers.some((pointer) => pointer.startsWith('/'));
}

const NO_PATHS: readonly Path[] = [];

function pathsOf(root: Root, pointers: readonly string[]): readonly Path[] {
  if (pointers.length === 0) return NO_PATHS;
  return pointers.filter((pointer) => pointer.startsWith(root)).map((pointer) => pointer.slice(1).split('/').map(read));
}

function read(name: string): string | typeof ANY {
  return name === '*' ? ANY : name.replaceAll('~2', '*').replaceAll('~1', '/').replaceAll('~0', '~');
}

/** Returns the rest of the paths below a member. An empty path leads to the member itself. */
function below(paths: readonly Path[], name: string): Path[] {
  return paths.filter(([first]) => first === ANY || first === name).map(([, ...rest]) => rest);
}

/** Returns whether a path leads to the place of these names, or to what holds it. */
function reach(paths: readonly Path[], names: readonly string[]): boolean {
  let left = paths;
  return names.some((name) => (left = below(left, name)).some(isEnd));
}

function isEnd(path: Path): boolean {
  return path.length === 0;
}

type Members = Record<string, unknown>;

/** Returns the members that JSON has: `toJSON()` may write others than the object's own. */
function membersOf(value: unknown): Members | undefined {
  const written = plain(value);
  return typeof written === 'object' && written !== null ? (written as Members) : undefined;
}

/** Returns whether JSON writes a member. It does not write the length of an array. */
function isMember(members: Members, name: string): boolean {
  return Object.getOwnPropertyDescriptor(members, name)?.enumerable === true;
}

function namesOf(members: Members, paths: readonly Path[]): string[] {
  const firsts = new Set(paths.map(([first]) => first));
  if (firsts.has(ANY)) return Object.keys(members);
  return [...(firsts as Set<string>)].filter((name) => isMember(members, name));
}

/** Copies what lies along the paths, and shares the rest. */
function without(value: unknown, paths: readonly Path[], replacement: unknown): unknown {
  const members = paths.length > 0 ? membersOf(value) : undefined;
  if (!members) return value;
  let copy: Members | undefined;
  for (const name of namesOf(members, paths)) {
    const inside = below(paths, name);
    const member = members[name];
    const changed = inside.some(isEnd) ? replacement : without(member, inside, replacement);
    if (changed === member) continue;
    copy ??= (Array.isArray(members) ? [...members] : { ...members }) as Members;
    if (changed === undefined) delete copy[name];
    else copy[name] = changed;
  }
  return copy ?? value;
}

/**
 * The same for the fields of a form that the parser has left as they came: `/card/number` leads to `card[number]` as well. Express makes a
 * member of `card` of it, and on Fastify the card's number was stored.
 */
function withoutFields(value: unknown, paths: readonly Path[], replacement: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const names = Object.keys(value).filter((name) => name.includes('[') && reach(paths, partsOf(name)));
  if (names.length === 0) return value;
  const copy = { ...value } as Members;
  for (const name of names) {
    if (replacement === undefined) delete copy[name];
    else copy[name] = replacement;
  }
  return copy;
}

/** Returns only what paths lead to; `undefined` if they lead nowhere. */
function onlyAt(value: unknown, paths: readonly Path[]): unknown {
  if (paths.some(isEnd)) return value;
  const members = membersOf(value);
  if (!members) return undefined;
  const chosen = namesOf(members, paths).flatMap((name) => {
    const member = onlyAt(members[name], below(paths, name));
    return member === undefined ? [] : [[name, member] as const];
  });
  if (chosen.length === 0) return undefined;
  // Chosen items keep their indices, with holes between them.
  return Array.isArray(members)
    ? Object.assign([] as unknown[], Object.fromEntries(chosen))
    : Object.fromEntries(chosen);
}
