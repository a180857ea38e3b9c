import { unwatched } from '../handlers/watch-handler.js';

/** A string, a template, a comment, or a regular expression, in which `//` is no comment: `/^https?:\/\//`. */
const OPAQUE =
  /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/.*|\/\*[^]*?\*\/|\/(?<=(?:[(,=>:[!&|?{};+]|\b(?:return|typeof|case))\s*\/)(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\//g;
const TOKEN = new RegExp(`${OPAQUE.source}|[()[\\]{}]`, 'g');

/** What follows `this`: in `this.orders.find(id).lock()`, the names `orders`, `find` and `lock`. */
export interface Chain {
  readonly names: readonly string[];
  /** What is in parentheses or brackets: arguments, mostly. */
  readonly args: string;
  /** Where it begins in the source. */
  readonly start: number;
  /** The index after its end. */
  readonly end: number;
  /** Whether the first name is called, or made by `new`. */
  readonly isCall: boolean;
  /** Whether the last part is a call. */
  readonly endsInCall: boolean;
}

const sources = new WeakMap<object, string>();

/** Returns the text of a class or function without comments and regular expressions. Empty where there is none, as of native functions. */
function textOf(code: object): string {
  let text = sources.get(code);
  if (text === undefined) {
    text = Function.prototype.toString.call(code).replace(OPAQUE, (piece) => (piece.startsWith('/') ? ' ' : piece));
    sources.set(code, text);
  }
  return text;
}

/** A method as the text of a class has it. */
interface Definition {
  /** From its parameters on. */
  readonly source: string;
  /** The prototype of the class that defines it. */
  readonly owner: object;
}

/** Returns the source of a method: see {@link definitionOf}. */
export function methodSource(target: object, name: string): string | undefined {
  return definitionOf(target, name)?.source;
}

/**
 * Returns the definition of a method. It is taken from the text of a class, because decorators replace methods by wrappers, and the module
 * watches inherited ones in the class that inherits them. No class has the text of a method that a decorator has added, as generators of
 * controllers do. `undefined` where there is no such method.
 */
export function definitionOf(target: object, name: string): Definition | undefined {
  let added: Definition | undefined;
  for (let at: object | null = target; at && at !== Object.prototype; at = Object.getPrototypeOf(at) as object | null) {
    const member = Object.getOwnPropertyDescriptor(at, name);
    if (!member) continue;
    const owner: unknown = Object.hasOwn(at, 'constructor') ? at.constructor : undefined;
    const source = typeof owner === 'function' ? definitionIn(textOf(owner), name) : undefined;
    if (source !== undefined) return { source: withNamesOfThis(source), owner: at };
    const method: unknown = member.value;
    if (typeof method === 'function') added ??= { source: withNamesOfThis(textOf(unwatched(method))), owner: at };
  }
  return added;
}

/** Returns the names of the constructor's parameters. */
export function parameterNames(metatype: object): string[] {
  const source = definitionIn(textOf(metatype), 'constructor') ?? '()';
  return source
    .slice(1, endOf(source, 0))
    .split(',')
    .map((parameter) => parameter.trim());
}

/** Finds `name(…) {…}`. A call of the same name has no block behind it. */
function definitionIn(text: string, name: string): string | undefined {
  const definition = new RegExp(`(?<=[\\s;{}*])${name.replace(/\W/g, '\\$&')}\\s*\\(`, 'g');
  for (const { 0: head, index } of text.matchAll(definition)) {
    const open = index + head.length - 1;
    const block = /^\s*\{/.exec(text.slice(endOf(text, open) + 1));
    if (block) return text.slice(open, endOf(text, endOf(text, open) + block[0].length) + 1);
  }
  return undefined;
}

/** Returns the index of the bracket that closes the one at `open`. */
function endOf(text: string, open: number): number {
  let depth = 0;
  TOKEN.lastIndex = open;
  for (let token = TOKEN.exec(text); token; token = TOKEN.exec(text)) {
    if ('([{'.includes(token[0])) depth++;
    else if (')]}'.includes(token[0]) && --depth === 0) return token.index;
  }
  return text.length;
}

/** Returns the arguments that begin with the parenthesis at `open`. */
export function argumentsAt(source: string, open: number): string {
  return source.slice(open, endOf(source, open));
}

/** What TypeORM makes of a member: `const runner = this.dataSource.createQueryRunner()`, which writes as that does. */
const MADE_OF_TYPEORM =
  /\b(?:const|let|var)\s+([\w$]+)\s*=\s*this\.([\w$]+)(?:\.[\w$]+)*\.(createQueryRunner|getRepository)\((?!\s*['"`]slave)[^()]*\)\s*[;,]/g;

/** Writes `this.orders` for each name that the source gives it: by `const { orders } = this`, or `const list = this.orders`. */
function withNamesOfThis(source: string): string {
  const aliases: [alias: string, name: string][] = [];
  for (const [, members] of source.matchAll(/\{([^{}]*)\}\s*=\s*this\s*[;,]/g)) {
    for (const [, name, alias = name] of members.matchAll(/([\w$]+)(?:\s*:\s*([\w$]+))?/g)) aliases.push([alias, name]);
  }
  for (const [, alias, name] of source.matchAll(/\b(?:const|let|var)\s+([\w$]+)\s*=\s*this\.([\w$]+)\s*[;,]/g)) {
    aliases.push([alias, name]);
  }
  for (const [, alias, name, maker] of source.matchAll(MADE_OF_TYPEORM)) aliases.push([alias, `${name}.${maker}`]);
  return aliases.reduce(
    (text, [alias, name]) =>
      text.replace(new RegExp(`(?<![\\w$.])${alias.replaceAll('$', '\\$')}(?=\\s*[.(])`, 'g'), () => `this.${name}`),
    source,
  );
}

/** What {@link withoutArguments} leaves of arguments: nothing that a source has. */
export const LEFT_OUT = '(,)';

/** Leaves the arguments of calls out that `opening` matches, from their parenthesis on or up to it. */
export function withoutArguments(source: string, opening: RegExp): string {
  let rest = source;
  let kept = '';
  for (let found = opening.exec(rest); found; found = opening.exec(rest)) {
    const open = rest.indexOf('(', found.index);
    kept += rest.slice(0, open) + LEFT_OUT;
    rest = rest.slice(endOf(rest, open) + 1);
  }
  return kept + rest;
}

/** Returns what the source does with `this`, or the variable `root`. Those in arguments of others come too. */
export function chainsIn(source: string, root = 'this'): Chain[] {
  const roots = source.matchAll(new RegExp(`(?<![\\w$.])${root}(?=\\s*\\??\\.\\s*[#\\w$])`, 'g'));
  return [...roots].map(({ index }) => chainAt(source, index, root));
}

function chainAt(source: string, start: number, root: string): Chain {
  const names: string[] = [];
  let args = '';
  let isCall = /\bnew\s+$/.test(source.slice(Math.max(0, start - 10), start));
  let endsInCall = false;
  let end = start + root.length;
  for (;;) {
    const next = /^\s*(?:\?\.\s*(?=[([]))?(?:\??\.\s*([#\w$]+)|([([]))/.exec(source.slice(end, end + 200));
    if (!next) return { names, args, start, end, isCall, endsInCall };
    endsInCall = next[2] === '(';
    if (next[1]) {
      names.push(next[1]);
      end += next[0].length;
      continue;
    }
    if (endsInCall && names.length === 1) isCall = true;
    const open = end + next[0].length - 1;
    end = endOf(source, open) + 1;
    args += source.slice(open, end);
  }
}
