import type ts from 'typescript';

export type TypeScript = typeof ts;

/** A list in brackets: an array, an object, or the names of an import. */
type ListNode = ts.ArrayLiteralExpression | ts.ObjectLiteralExpression | ts.NamedImports | ts.JsonObjectExpression;

interface Additions {
  readonly first: string[];
  readonly last: string[];
}

interface Insertion {
  readonly at: number;
  readonly text: string;
}

/**
 * Adds text to a source file at positions of its syntax tree. Existing text keeps its bytes, and comments. Added text takes the file's
 * own quotes, indentation, semicolons and line ends.
 */
export class SourceEditor {
  readonly eol: string;
  readonly quote: string;
  readonly semicolon: string;
  readonly unit: string;
  private readonly lists = new Map<ListNode, Additions>();
  private readonly imports = new Map<string, Set<string>>();
  private readonly insertions: Insertion[] = [];

  constructor(
    private readonly ts: TypeScript,
    readonly source: ts.SourceFile,
  ) {
    const { text } = source;
    this.eol = text.includes('\r\n') ? '\r\n' : '\n';
    const firstImport = source.statements.find((statement) => ts.isImportDeclaration(statement));
    this.quote = (firstImport?.getText(source) ?? text).match(/['"]/)?.[0] ?? "'";
    this.semicolon = firstImport && !firstImport.getText(source).endsWith(';') ? '' : ';';
    this.unit = /^(\t| {2,8})\S/m.exec(text)?.[1] ?? '  ';
  }

  /** Converts text with `'`, two spaces and `\n` to the style of the file. */
  private styled(text: string, indent: string): string {
    return text
      .replaceAll("'", this.quote)
      .split('\n')
      .map((line, at) => {
        const [spaces] = /^ */.exec(line)!;
        return at === 0 ? line : indent + this.unit.repeat(spaces.length / 2) + line.slice(spaces.length);
      })
      .join(this.eol);
  }

  append(list: ListNode, text: string): void {
    this.additionsTo(list).last.push(text);
  }

  prepend(list: ListNode, text: string): void {
    this.additionsTo(list).first.push(text);
  }

  /**
   * Imports a name, such as `Redis` or `type Redis`, unless the file imports it. Returns what the file calls it: another name where
   * the file has given this one to something else, because a second declaration does not compile (TS2300).
   */
  import(module: string, name: string): string {
    const existing = this.importedAs(module, name);
    if (existing !== undefined) return existing;
    const wanted = bare(name);
    const local = this.declaredNames().includes(wanted) ? this.freeName(module, wanted) : wanted;
    const names = this.imports.get(module) ?? new Set();
    this.imports.set(module, names.add(local === wanted ? name : `${name} as ${local}`));
    return local;
  }

  /** Returns what the file calls a name of a module; `undefined` if it does not import it, or imports a value only as a type. */
  importedAs(module: string, name: string): string | undefined {
    const { ts } = this;
    const wanted = bare(name);
    const isType = wanted !== name;
    for (const { importClause: clause } of this.importsOf(module)) {
      if (!clause || (clause.isTypeOnly && !isType)) continue;
      // `import Redis from 'ioredis'` is the same class.
      if (clause.name?.text === wanted) return wanted;
      const named = clause.namedBindings;
      if (!named || !ts.isNamedImports(named)) continue;
      const found = named.elements.find(
        (one) =>
          (isType || !one.isTypeOnly) &&
          ((one.propertyName ?? one.name).text === wanted ||
            (one.propertyName?.text === 'default' && one.name.text === wanted)),
      );
      if (found) return found.name.text;
    }
    return undefined;
  }

  insert(at: number, text: string): void {
    this.insertions.push({ at, text });
  }

  /** As {@link insert}, for text with `'`, two spaces and `\n` that continues the line of the position. */
  insertStyled(at: number, text: string): void {
    this.insert(at, this.styled(text, this.indentAt(at)));
  }

  /** Adds a method at the end of a class. */
  addMember(node: ts.ClassDeclaration, method: string): void {
    const outer = this.indentAt(node.end - 1);
    const last = node.members.at(-1);
    const indent = last ? this.indentAt(last.getStart(this.source)) : outer + this.unit;
    const text = this.withSemicolons(this.styled(method, indent));
    if (last) return this.insert(this.behindComments(last.end), this.eol + this.eol + indent + text);
    const inside = this.source.text.slice(node.members.pos, node.end - 1);
    const at = node.members.pos + inside.trimEnd().length;
    this.insert(at, this.eol + indent + text + (inside.includes('\n') ? '' : this.eol + outer));
  }

  /** Adds a line after a statement, with its indentation. */
  addAfter(statement: ts.Node, line: string): void {
    const { ts, source } = this;
    const start = statement.getStart(source);
    const code = line.replace(/;$/, statement.getText(source).endsWith(';') ? ';' : '');
    if (!this.beginsLine(start)) return this.insert(statement.end, ` ${this.styled(code, '')}`);
    const end = this.behindComments(statement.end);
    const nextIsOnLine = !/^[ \t]*(\r?\n|$)/.test(source.text.slice(end));
    if (nextIsOnLine || ts.isSourceFile(statement)) return this.insert(statement.end, ` ${this.styled(code, '')}`);
    const indent = this.indentAt(start);
    this.insert(end, this.eol + indent + this.styled(code, indent));
  }

  /** Adds lines after the imports, between empty lines. */
  addBelowImports(lines: string): void {
    const last = this.source.statements.findLast((one) => this.isImport(one));
    const text = this.withSemicolons(this.styled(lines, ''));
    if (last) this.insert(this.behindComments(last.end), this.eol + this.eol + text);
    else this.insert(this.prologueEnd(), text + this.eol + this.eol);
  }

  withSemicolons(text: string): string {
    return this.semicolon ? text : text.replace(/;(?=\r?\n|$)/g, '');
  }

  get text(): string {
    const all = [...this.insertions];
    for (const [list, additions] of this.lists) this.addToList(all, list, additions);
    this.addImports(all);
    let { text } = this.source;
    const ordered = all.map((one, order) => ({ ...one, order })).sort((a, b) => b.at - a.at || b.order - a.order);
    for (const { at, text: added } of ordered) text = text.slice(0, at) + added + text.slice(at);
    return text;
  }

  /** Returns the indentation of the line of a position. */
  indentAt(at: number): string {
    const { text } = this.source;
    const start = text.lastIndexOf('\n', at - 1) + 1;
    return /^[ \t]*/.exec(text.slice(start))![0];
  }

  beginsLine(at: number): boolean {
    const { text } = this.source;
    return /^[ \t]*$/.test(text.slice(text.lastIndexOf('\n', at - 1) + 1, at));
  }

  private additionsTo(list: ListNode): Additions {
    const additions = this.lists.get(list) ?? { first: [], last: [] };
    this.lists.set(list, additions);
    return additions;
  }

  private addToList(to: Insertion[], list: ListNode, { first, last }: Additions): void {
    const { ts, source } = this;
    const open = list.getStart(source) + 1;
    const close = list.end - 1;
    const syntax = list.getChildren(source).find((child) => child.kind === ts.SyntaxKind.SyntaxList)!;
    const parts = syntax.getChildren(source);
    const elements = parts.filter((part) => part.kind !== ts.SyntaxKind.CommaToken);
    if (elements.length === 0) {
      to.push(...this.intoEmpty(list, open, close, [...first, ...last]));
      return;
    }
    const isMultiline = this.beginsLine(elements[0].getStart(source));
    const indent = isMultiline ? this.indentAt(elements[0].getStart(source)) : this.indentAt(list.getStart(source));
    const separator = isMultiline ? this.eol + indent : ' ';
    if (first.length > 0) {
      const texts = first.map((text) => `${separator}${this.styled(text, indent)},`).join('');
      const isSpaced = isMultiline || /\s/.test(source.text[open]);
      to.push({ at: isMultiline ? this.behindComments(open) : open, text: isSpaced ? texts : `${texts.slice(1)} ` });
    }
    if (last.length === 0) return;
    const texts = last.map((text) => separator + this.styled(text, indent)).join(',');
    const end = parts.at(-1)!;
    const comma = end.kind === ts.SyntaxKind.CommaToken;
    if (comma) to.push({ at: this.behindComments(end.end, isMultiline), text: `${texts},` });
    else to.push({ at: end.end, text: ',' }, { at: this.behindComments(end.end, isMultiline), text: texts });
  }

  private intoEmpty(list: ListNode, open: number, close: number, texts: readonly string[]): Insertion[] {
    const { ts, source } = this;
    const inside = source.text.slice(open, close);
    const outer = this.indentAt(list.getStart(source));
    const indent = outer + this.unit;
    if (inside.includes('\n')) {
      const added = texts.map((text) => `${this.eol}${indent}${this.styled(text, indent)},`).join('');
      return [{ at: open + inside.trimEnd().length, text: added }];
    }
    if (ts.isArrayLiteralExpression(list) && texts.some((text) => text.includes('\n'))) {
      const lines = texts.map((text) => `${this.eol}${indent}${this.styled(text, indent)},`).join('');
      return [{ at: close, text: lines + this.eol + outer }];
    }
    const joined = texts.map((text) => this.styled(text, outer)).join(', ');
    const spaced = ts.isArrayLiteralExpression(list) || inside.length > 1 ? joined : ` ${joined} `;
    return [{ at: close, text: inside.length === 1 && spaced === joined ? `${joined} ` : spaced }];
  }

  private addImports(to: Insertion[]): void {
    const { ts, source } = this;
    const lines: string[] = [];
    for (const [module, names] of [...this.imports].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const existing = this.importsOf(module).find((one) => this.namedIn(one));
      const named = existing && this.namedIn(existing);
      if (named) this.addToList(to, named, { first: [], last: [...names] });
      else lines.push(`import { ${[...names].join(', ')} } from ${this.quote}${module}${this.quote}${this.semicolon}`);
    }
    if (lines.length === 0) return;
    const imports = source.statements.filter((one) => this.isImport(one));
    const isRelative = (one: ts.Statement) => ts.isImportDeclaration(one) && /^.\./.test(one.moduleSpecifier.getText());
    const last = imports.findLast((one) => !isRelative(one));
    if (last) {
      // Before other additions at this position, such as lines below the imports.
      to.unshift({ at: this.behindComments(last.end), text: lines.map((line) => this.eol + line).join('') });
    } else {
      const at = imports.length > 0 ? imports[0].getStart(source) : this.prologueEnd();
      const gap = imports.length > 0 ? '' : this.eol;
      to.unshift({ at, text: lines.map((line) => line + this.eol).join('') + gap });
    }
  }

  private isImport(statement: ts.Statement): boolean {
    return this.ts.isImportDeclaration(statement) || this.ts.isImportEqualsDeclaration(statement);
  }

  private importsOf(module: string): ts.ImportDeclaration[] {
    const { ts, source } = this;
    return source.statements
      .filter((one) => ts.isImportDeclaration(one))
      .filter(({ moduleSpecifier: one }) => ts.isStringLiteral(one) && one.text === module);
  }

  /** Returns the names in braces of an import that is not `import type`. */
  private namedIn({ importClause }: ts.ImportDeclaration): ts.NamedImports | undefined {
    const named = importClause?.namedBindings;
    return named && this.ts.isNamedImports(named) && !importClause.isTypeOnly ? named : undefined;
  }

  /** Returns all top-level names of the file, with those of imports. */
  private declaredNames(): string[] {
    const { ts } = this;
    const bound = (name: ts.BindingName): string[] =>
      ts.isIdentifier(name)
        ? [name.text]
        : name.elements.flatMap((one) => (ts.isOmittedExpression(one) ? [] : bound(one.name)));
    return this.source.statements.flatMap((one) => {
      if (ts.isVariableStatement(one)) return one.declarationList.declarations.flatMap(({ name }) => bound(name));
      if (!ts.isImportDeclaration(one)) {
        const { name } = one as { name?: ts.Node };
        return name && ts.isIdentifier(name) ? [name.text] : [];
      }
      const { name, namedBindings: named } = one.importClause ?? {};
      const others = named && (ts.isNamedImports(named) ? named.elements.map((each) => each.name) : [named.name]);
      return [...(name ? [name] : []), ...(others ?? [])].map(({ text }) => text);
    });
  }

  /** Returns a name such as `NestjsLogger` for the `Logger` of @nestjs/common. */
  private freeName(module: string, name: string): string {
    const [word] = /[a-z]+/.exec(module)!;
    let free = word[0].toUpperCase() + word.slice(1) + name;
    while (this.source.text.includes(free)) free += '_';
    return free;
  }

  /** Returns the position after a shebang, directives and the comments at the head of the file. */
  private prologueEnd(): number {
    const { ts, source } = this;
    const first = source.statements.find(
      (one) => !(ts.isExpressionStatement(one) && ts.isStringLiteral(one.expression)),
    );
    return first ? first.getStart(source, true) : source.text.length;
  }

  /** Returns the position after the comments that follow on the same line. */
  private behindComments(at: number, isMultiline = true): number {
    if (!isMultiline) return at;
    return this.ts.getTrailingCommentRanges(this.source.text, at)?.at(-1)?.end ?? at;
  }
}

function bare(name: string): string {
  return name.replace(/^type /, '');
}
