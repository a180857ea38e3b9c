/**
 * Checks the types of the `ts` blocks of Markdown pages against the package, in one program.
 *
 * A block is a module of its own. What it uses and neither declares nor imports comes from the page's preamble
 * (`test/docs/preambles`), which stands for the reader's own code. Marks behind the language:
 *
 * - `ts members`: members of a class, which extends the preamble's `Members`
 * - `ts title="src/main.ts"`: a file of the page's project; titled blocks import each other, and what Nest generates
 * - `ts ignore`: not checked
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { root } from '../workspace.mjs';

/** @typedef {import('./code-blocks.mjs').CodeBlock} CodeBlock */

/**
 * @typedef {object} Module
 * @property {string} path
 * @property {string} text
 * @property {CodeBlock} block
 * @property {number} linesBefore how many lines were put before the block's own
 */

/** Files of a new Nest project that pages import without showing them. */
const GENERATED = new Map([
  ['src/app.controller.ts', 'export class AppController {}'],
  ['src/app.service.ts', 'export class AppService {}'],
]);

const PREAMBLES = join(root, 'test/docs/preambles');

/**
 * @param {CodeBlock[]} blocks
 * @returns {string[]} what is wrong, as `page:line: message`
 */
export function typeCheck(blocks) {
  const checked = blocks.filter(({ language, mark }) => /^(ts|typescript)$/.test(language) && mark !== 'ignore');
  const modules = [
    ...checked.filter(({ title }) => !title).map(toModule),
    ...generations(checked.filter(({ title }) => title)).flatMap((files, i) =>
      [...files.values()].map((block) =>
        moduleAt(join('project', String(i), block.page, block.title ?? ''), block, '', ''),
      ),
    ),
  ];
  const program = ts.createProgram(
    modules.map(({ path }) => path),
    options(),
    hostWith(modules),
  );
  const problems = modules.flatMap((module) => {
    const file = program.getSourceFile(module.path);
    if (!file) throw new Error(`TypeScript did not read ${module.path}`);
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    return found.map((diagnostic) => describe(diagnostic, module));
  });
  return [...new Set(problems)];
}

/**
 * The states of a page's project: a file that is shown again begins a new one.
 *
 * @param {CodeBlock[]} blocks
 * @returns {Map<string, CodeBlock>[]}
 */
function generations(blocks) {
  /** @type {Map<string, CodeBlock>[]} */
  const states = [];
  /** @type {Set<string>} */
  let shown = new Set();
  for (const block of blocks) {
    const title = `${block.page} ${block.title}`;
    if (states.length === 0 || shown.has(title)) {
      states.push(new Map(states.at(-1)));
      shown = new Set();
    }
    const state = states[states.length - 1];
    for (const [name, code] of GENERATED) {
      const generated = `${block.page} ${name}`;
      if (!state.has(generated)) state.set(generated, { ...block, title: name, code });
    }
    shown.add(title);
    state.set(title, block);
  }
  return states;
}

/** @param {CodeBlock} block */
function toModule(block) {
  const { page, line, mark } = block;
  const path = join('blocks', page, `${line}.ts`);
  const preamble = preambleOf(page);
  const imports = preamble ? importsFrom(preamble, block) : '';
  if (mark === 'members') {
    const extending = preamble !== undefined && exportsOf(preamble).has('Members');
    const base = extending ? ' extends Members' : '';
    const importBase = extending ? `import { Members } from ${specifier(preamble)};` : '';
    return moduleAt(path, block, `${imports}${importBase}\nexport class Example${base} {\n`, '\n}\n');
  }
  return moduleAt(path, block, `${imports}\n`, '\nexport {};\n');
}

/**
 * @param {string} path
 * @param {CodeBlock} block
 * @param {string} before
 * @param {string} after
 * @returns {Module}
 */
function moduleAt(path, block, before, after) {
  const text = before + block.code + after;
  return { path: join(root, '.docs', path), block, text, linesBefore: before.split('\n').length - 1 };
}

/** @param {string} page */
function preambleOf(page) {
  const name = page
    .replace(/\.md$/, '')
    .replace(/^docs\//, '')
    .replaceAll('/', '-')
    .toLowerCase();
  const path = join(PREAMBLES, `${name}.ts`);
  return existsSync(path) ? path : undefined;
}

/**
 * What a block uses of the page's preamble. Types are imported as such: a decorated signature has to distinguish them.
 *
 * @param {string} preamble
 * @param {CodeBlock} block
 */
function importsFrom(preamble, { code, mark }) {
  const asModule = mark === 'members' ? `class A {\n${code}\n}` : code;
  const source = ts.createSourceFile('block.ts', asModule, ts.ScriptTarget.ES2023);
  const { used, declared } = namesIn(source);
  const names = [...exportsOf(preamble)]
    .filter(([name]) => name !== 'Members' && used.has(name) && !declared.has(name))
    .map(([name, isType]) => (isType ? `type ${name}` : name));
  return names.length > 0 ? `import { ${names.join(', ')} } from ${specifier(preamble)};` : '';
}

/** @param {string} path */
function specifier(path) {
  return JSON.stringify(path.replace(/\.ts$/, '.js'));
}

/** @param {ts.SourceFile} source */
function namesIn(source) {
  /** @type {Set<string>} */
  const used = new Set();
  /** @type {Set<string>} */
  const declared = new Set();
  const visit = (/** @type {ts.Node} */ node) => {
    if (ts.isIdentifier(node)) used.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  for (const statement of source.statements) {
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) addNames(name, declared);
    } else if (ts.isImportDeclaration(statement)) {
      const { importClause } = statement;
      if (importClause?.name) declared.add(importClause.name.text);
      const bindings = importClause?.namedBindings;
      if (bindings && ts.isNamedImports(bindings)) bindings.elements.forEach(({ name }) => declared.add(name.text));
    } else {
      const { name } = /** @type {{ name?: ts.Node }} */ (statement);
      if (name && ts.isIdentifier(name)) declared.add(name.text);
    }
  }
  return { used, declared };
}

/**
 * @param {ts.BindingName} name
 * @param {Set<string>} names
 */
function addNames(name, names) {
  if (ts.isIdentifier(name)) return void names.add(name.text);
  for (const element of name.elements) if (ts.isBindingElement(element)) addNames(element.name, names);
}

/** @type {Map<string, Map<string, boolean>>} */
const known = new Map();

/**
 * The names that a preamble exports, and whether each is a type alone.
 *
 * @param {string} path
 */
function exportsOf(path) {
  let names = known.get(path);
  if (names) return names;
  known.set(path, (names = new Map()));
  const source = ts.createSourceFile(path, ts.sys.readFile(path) ?? '', ts.ScriptTarget.ES2023);
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)) {
      for (const one of statement.exportClause.elements) {
        names.set(one.name.text, statement.isTypeOnly || one.isTypeOnly);
      }
    }
    if (!ts.canHaveModifiers(statement)) continue;
    if (!ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) continue;
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
    const { name } = /** @type {{ name?: ts.Identifier }} */ (statement);
    if (name) names.set(name.text, isType);
    if (ts.isVariableStatement(statement)) {
      for (const declaration of statement.declarationList.declarations) {
        if (ts.isIdentifier(declaration.name)) names.set(declaration.name.text, false);
      }
    }
  }
  return names;
}

/** The repository's own options, which are those of a new Nest project, but for what an example need not care about. */
function options() {
  const config = ts.getParsedCommandLineOfConfigFile(
    join(root, 'tsconfig.json'),
    {},
    {
      ...ts.sys,
      readDirectory: () => [],
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
        throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
      },
    },
  );
  return { ...config?.options, noUnusedLocals: false, noUnusedParameters: false, noEmit: true, declaration: false };
}

/**
 * A compiler host in which the modules are files.
 *
 * @param {Module[]} modules
 */
function hostWith(modules) {
  const texts = new Map(modules.map(({ path, text }) => [path, text]));
  const folders = new Set(modules.flatMap(({ path }) => [dirname(path), dirname(dirname(path))]));
  const host = ts.createCompilerHost(options());
  const disk = { ...host };
  host.readFile = (path) => texts.get(path) ?? disk.readFile(path);
  host.fileExists = (path) => texts.has(path) || disk.fileExists(path);
  host.directoryExists = (path) => folders.has(path) || disk.directoryExists?.(path) || false;
  return host;
}

/**
 * @param {ts.Diagnostic} diagnostic
 * @param {Module} module
 */
function describe({ file, start = 0, messageText, code }, { block, linesBefore }) {
  const { line = 0 } = file?.getLineAndCharacterOfPosition(start) ?? {};
  const text = ts.flattenDiagnosticMessageText(messageText, '\n  ');
  const at = Math.max(line - linesBefore, 0) + block.line;
  return `${block.page}:${at}: ${text} (TS${code})`;
}
