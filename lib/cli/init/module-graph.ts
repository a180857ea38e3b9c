import type ts from 'typescript';
import { refusal } from '../exit-codes.js';
import type { ProjectFiles } from './files.js';
import { hostOf, type Project } from './project.js';
import { SourceEditor, type TypeScript } from './source-editor.js';

/** Only files with one of these names are parsed: parsing all files of a large application takes seconds. */
const RELEVANT = /TypeOrmModule|IdempotencyModule|IDEMPOTENCY_|DataSource|enableShutdownHooks|autoLoadEntities/;

/** A node, and its file. */
export interface Found<T extends ts.Node> {
  readonly node: T;
  readonly file: SourceFile;
}

export class SourceFile {
  readonly editor: SourceEditor;

  constructor(
    ts: TypeScript,
    readonly path: string,
    readonly source: ts.SourceFile,
  ) {
    this.editor = new SourceEditor(ts, source);
  }
}

/** The source files of an application, from its entry file along the imports. */
export class ModuleGraph {
  private readonly parsed = new Map<string, SourceFile>();
  private readonly host;
  private found?: readonly SourceFile[];

  constructor(
    readonly ts: TypeScript,
    private readonly files: ProjectFiles,
    private readonly project: Project,
  ) {
    this.host = hostOf(files);
  }

  /** @throws CliError for a syntax error: the tree after it would be wrong, and an insertion in the wrong place */
  parse(path: string): SourceFile {
    const existing = this.parsed.get(path);
    if (existing) return existing;
    const { ts } = this;
    const text = this.files.read(path)!;
    const source = path.endsWith('.json')
      ? ts.parseJsonText(path, text)
      : ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    this.assertParses(source, path);
    const file = new SourceFile(ts, path, source);
    this.parsed.set(path, file);
    return file;
  }

  /** Returns the files that were parsed so far: only these may have been edited. */
  get all(): readonly SourceFile[] {
    return [...this.parsed.values()];
  }

  /** Returns the files of the application that `init` has to look at, the entry file first. */
  relevant(): readonly SourceFile[] {
    return (this.found ??= this.walk());
  }

  private walk(): SourceFile[] {
    const seen = new Set<string>();
    const found: SourceFile[] = [];
    const queue = [this.project.entry];
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      if (seen.has(path)) continue;
      seen.add(path);
      const text = this.files.read(path);
      if (text === undefined) continue;
      if (path === this.project.entry || RELEVANT.test(text)) found.push(this.parse(path));
      for (const { fileName } of this.ts.preProcessFile(text).importedFiles) {
        const next = this.resolve(fileName, path);
        if (next) queue.push(next);
      }
    }
    return found;
  }

  /** Returns the file of an import; `undefined` for a package. */
  resolve(specifier: string, from: string): string | undefined {
    const { compilerOptions: options } = this.project;
    const { resolvedModule } = this.ts.resolveModuleName(specifier, `/${from}`, options, this.host);
    if (!resolvedModule || resolvedModule.isExternalLibraryImport) return undefined;
    const path = resolvedModule.resolvedFileName.replace(/^\/+/, '');
    return /\.[mc]?tsx?$/.test(path) && !path.includes('node_modules/') && !/\.d\.[mc]?ts$/.test(path)
      ? path
      : undefined;
  }

  /** Returns the top-level declaration of a name, in this file or in the one that it is imported from. */
  declarationOf(name: string, file: SourceFile, depth = 0): Found<ts.Declaration> | undefined {
    const { ts } = this;
    if (depth > 8) return undefined;
    for (const statement of file.source.statements) {
      if (ts.isClassDeclaration(statement)) {
        const isDefault = statement.modifiers?.some((one) => one.kind === ts.SyntaxKind.DefaultKeyword);
        if (statement.name?.text === name || (name === 'default' && isDefault)) return { node: statement, file };
      } else if (ts.isFunctionDeclaration(statement)) {
        if (statement.name?.text === name) return { node: statement, file };
      } else if (ts.isVariableStatement(statement)) {
        const node = statement.declarationList.declarations.find((one) => one.name.getText(file.source) === name);
        if (node) return { node, file };
      } else if (ts.isExportAssignment(statement) && name === 'default' && ts.isIdentifier(statement.expression)) {
        return this.declarationOf(statement.expression.text, file, depth + 1);
      } else if (ts.isImportDeclaration(statement)) {
        const original = this.importedAs(statement, name);
        if (original) return this.declarationIn(statement.moduleSpecifier, original, file, depth);
      } else if (ts.isExportDeclaration(statement) && statement.moduleSpecifier) {
        const found = this.reexported(statement, name, file, depth);
        if (found) return found;
      }
    }
    return undefined;
  }

  private reexported(statement: ts.ExportDeclaration, name: string, file: SourceFile, depth: number) {
    const { exportClause: clause, moduleSpecifier } = statement;
    if (!clause) return this.declarationIn(moduleSpecifier!, name, file, depth);
    if (!this.ts.isNamedExports(clause)) return undefined;
    const specifier = clause.elements.find((one) => one.name.text === name);
    return (
      specifier && this.declarationIn(moduleSpecifier!, (specifier.propertyName ?? specifier.name).text, file, depth)
    );
  }

  private declarationIn(specifier: ts.Expression, name: string, from: SourceFile, depth: number) {
    const path = this.ts.isStringLiteral(specifier) ? this.resolve(specifier.text, from.path) : undefined;
    return path === undefined ? undefined : this.declarationOf(name, this.parse(path), depth + 1);
  }

  private importedAs({ importClause }: ts.ImportDeclaration, name: string): string | undefined {
    if (importClause?.name?.text === name) return 'default';
    const named = importClause?.namedBindings;
    if (!named || !this.ts.isNamedImports(named)) return undefined;
    const specifier = named.elements.find((one) => one.name.text === name);
    return specifier && (specifier.propertyName ?? specifier.name).text;
  }

  /** Returns all nodes of a kind. */
  nodesOf<T extends ts.Node>(file: SourceFile, is: (node: ts.Node) => node is T): T[] {
    const found: T[] = [];
    const visit = (node: ts.Node): void => {
      if (is(node)) found.push(node);
      this.ts.forEachChild(node, visit);
    };
    visit(file.source);
    return found;
  }

  /** Returns the calls of `forRoot()` and `forRootAsync()` of a module class, whatever name a file imports it by. */
  registrationsOf(module: string, name: string): Found<ts.CallExpression>[] {
    return this.relevant().flatMap((file) => {
      const local = file.editor.importedAs(module, name) ?? name;
      const callees = [local, name].flatMap((one) => [`${one}.forRoot`, `${one}.forRootAsync`]);
      return this.nodesOf(file, this.ts.isCallExpression)
        .filter(({ expression }) => callees.includes(expression.getText(file.source).replace(/\s/g, '')))
        .map((node) => ({ node, file }));
    });
  }

  private assertParses(source: ts.SourceFile, path: string): void {
    const { ts } = this;
    const { parseDiagnostics } = source as unknown as { parseDiagnostics?: readonly ts.Diagnostic[] };
    const [first] = parseDiagnostics ?? [];
    if (!first) return;
    const line = source.getLineAndCharacterOfPosition(first.start ?? 0).line + 1;
    throw refusal(
      `${path}:${line} has a syntax error: ${ts.flattenDiagnosticMessageText(first.messageText, ' ')}. Nothing was changed`,
    );
  }
}
