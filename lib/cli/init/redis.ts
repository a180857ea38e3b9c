import type ts from 'typescript';
import type { Found, SourceFile } from './module-graph.js';
import type { Draft } from './plan.js';
import { dependsOn, variableNote } from './project.js';

const clientLines = (name: string, Redis = 'Redis', Logger = 'Logger') =>
  `const ${name} = new ${Redis}(process.env.REDIS_URL!);\n${listenerLine(name, Logger)}`;

// Without a listener, ioredis prints a stack for each failed attempt to connect.
const listenerLine = (name: string, Logger: string) =>
  `${name}.on('error', (error: Error) => ${Logger}.warn(error.message, 'Redis'));`;

export const REDIS_LINES = `import { Logger } from '@nestjs/common';
import { Redis } from 'ioredis';

${clientLines('redis')}`;

/** Adds a client above the class of a module, which closes it. Returns the name of the client. */
export function addRedisClient(draft: Draft, { node, file }: Found<ts.ClassDeclaration>): string {
  const { editor, source } = file;
  const name = /\bredis\b/.test(source.text) ? 'idempotencyRedis' : 'redis';
  const [Redis, Logger] = [editor.import('ioredis', 'Redis'), editor.import('@nestjs/common', 'Logger')];
  editor.addBelowImports(clientLines(name, Redis, Logger));
  if (!dependsOn(draft.project.manifest, 'ioredis')) draft.packages.add('ioredis@5');
  draft.notes.push(variableNote(draft.project, file.path, 'REDIS_URL', 'redis://localhost:6379'));
  const { ts } = draft.graph;
  const close = `${name}.disconnect();`;
  const closes = node.members.find((one) => one.name?.getText(source) === 'onApplicationShutdown');
  if (closes) {
    draft.manual.push({ where: `in onApplicationShutdown() of ${file.path}`, lines: close });
    return name;
  }
  const hook = editor.import('@nestjs/common', 'type OnApplicationShutdown');
  editor.insert(...implementing(hook, ts, node, source));
  editor.addMember(node, `onApplicationShutdown() {\n  ${close}\n}`);
  return name;
}

/** Returns the position and the text by which a class implements one more interface. */
function implementing(
  name: string,
  typescript: typeof ts,
  node: ts.ClassDeclaration,
  source: ts.SourceFile,
): [at: number, text: string] {
  const clauses = node.heritageClauses ?? [];
  const existing = clauses.find(({ token }) => token === typescript.SyntaxKind.ImplementsKeyword);
  if (existing) return [existing.types.end, `, ${name}`];
  const before =
    clauses.at(-1)?.end ??
    (node.typeParameters && source.text.indexOf('>', node.typeParameters.end) + 1) ??
    node.name?.end ??
    node.members.pos - 1;
  return [before, ` implements ${name}`];
}

/** Adds a listener for errors to a client of the application, if it certainly has none. */
export function addRedisListener({ graph }: Draft, client: ts.Node, file: SourceFile): void {
  const { ts } = graph;
  if (!ts.isIdentifier(client)) return;
  const declared = graph.declarationOf(client.text, file);
  if (declared?.file !== file || !ts.isVariableDeclaration(declared.node) || !declared.node.initializer) return;
  if (!ts.isNewExpression(declared.node.initializer)) return;
  if (new RegExp(`\\b${client.text}\\s*\\.on\\(\\s*['"]error`).test(file.source.text)) return;
  const Logger = file.editor.import('@nestjs/common', 'Logger');
  file.editor.addAfter(declared.node.parent.parent, listenerLine(client.text, Logger));
}
