import { posix } from 'node:path';
import type ts from 'typescript';
import type { SourceFile } from './module-graph.js';
import { OptionsReader, property, valueOf } from './options-reader.js';
import type { Draft } from './plan.js';
import { dependsOn } from './project.js';

const PATTERN = '/node_modules/(?!.pnpm/|nestjs-idempotency/)';

/** Makes Jest compile the package: before Node 24.9, Jest cannot `require` an ES module. */
export function configureJest(draft: Draft): void {
  const { project, found } = draft;
  const { manifest } = project;
  const hasJest = dependsOn(manifest, 'jest') || manifest.jest !== undefined;
  if (dependsOn(manifest, 'vitest')) found.push('Vitest');
  if (!hasJest) return;
  // With ES modules, Jest imports the package as it is.
  const isNative = /experimental-vm-modules/.test(JSON.stringify(manifest.scripts ?? {}));
  found.push(isNative ? 'Jest with ES modules' : 'Jest');
  if (isNative) return;
  for (const config of configsOf(draft)) configure(draft, config);
}

function configsOf(draft: Draft): { file: SourceFile; options: ts.Node | undefined }[] {
  const { files, project, graph } = draft;
  const { ts } = graph;
  const configs: { file: SourceFile; options: ts.Node | undefined }[] = [];
  if (project.manifest.jest !== undefined) {
    const file = graph.parse('package.json');
    const jest = property(ts, [{ node: jsonOf(file), file }], 'jest');
    configs.push({ file, options: jest && valueOf(ts, jest.node) });
  }
  const scripts = Object.values(project.manifest.scripts ?? {}).flatMap((script) =>
    [...script.matchAll(/--config[ =](\S+)/g)].map(([, path]) => posix.normalize(path)),
  );
  const folders = ['', 'test', project.folder, posix.join(project.folder, 'test')];
  const usual = folders.flatMap((folder) =>
    files
      .list(folder)
      .filter((name) => /^jest[\w.-]*\.([mc]?[jt]s|json)$/.test(name))
      .map((name) => posix.join(folder, name)),
  );
  for (const path of new Set([...scripts, ...usual])) {
    if (!/jest/.test(path) || files.read(path) === undefined) continue;
    const file = graph.parse(path);
    configs.push({ file, options: path.endsWith('.json') ? jsonOf(file) : exported(draft, file) });
  }
  return configs;
}

function jsonOf({ source }: SourceFile): ts.ObjectLiteralExpression {
  return (source as ts.JsonSourceFile).statements[0].expression as ts.ObjectLiteralExpression;
}

/** Returns the value of `export default` or `module.exports`. */
function exported({ graph: { ts } }: Draft, { source }: SourceFile): ts.Node | undefined {
  for (const statement of source.statements) {
    if (ts.isExportAssignment(statement)) return statement.expression;
    const assigned = ts.isExpressionStatement(statement) ? statement.expression : undefined;
    if (assigned && ts.isBinaryExpression(assigned) && assigned.left.getText(source) === 'module.exports')
      return assigned.right;
  }
  return undefined;
}

function configure(
  { graph, manual }: Draft,
  { file, options }: { file: SourceFile; options: ts.Node | undefined },
): void {
  const { ts } = graph;
  if (file.source.text.includes('nestjs-idempotency/')) return;
  const { literals, isComplete } = new OptionsReader(graph).read(options, file);
  const patterns = property(ts, literals, 'transformIgnorePatterns');
  const transform = property(ts, literals, 'transform');
  const compilesJs = transform && /\bj|\?|\.\*|\[/.test(keysOf(ts, valueOf(ts, transform.node)));
  const isCertain = isComplete && !patterns && compilesJs && !property(ts, literals, 'projects');
  if (isCertain) return literals[0].file.editor.append(literals[0].node, line(file));
  manual.push({
    where: `in ${file.path}: Jest has to compile the JavaScript of nestjs-idempotency, so \`transform\` has to match it, and no pattern of \`transformIgnorePatterns\` may`,
    lines: `${line(file)},`,
  });
}

/** Returns the patterns of `transform`. */
function keysOf(typescript: typeof ts, node: ts.Node): string {
  if (!typescript.isObjectLiteralExpression(node)) return '';
  return node.properties.map(({ name }) => (name && typescript.isStringLiteral(name) ? name.text : '')).join(' ');
}

function line({ path }: SourceFile): string {
  return path.endsWith('.json')
    ? `"transformIgnorePatterns": ["${PATTERN}"]`
    : `transformIgnorePatterns: ['${PATTERN}']`;
}
