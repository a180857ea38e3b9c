import type ts from 'typescript';
import type { Draft } from './plan.js';

const FACTORIES = /^NestFactory\s*\.\s*create(ApplicationContext|Microservice)?$/;

/** A call that creates the application. */
export interface Creation {
  readonly call: ts.CallExpression;
  /** The variable that the application is assigned to, and the statement of the assignment. */
  readonly kept?: { readonly statement: ts.Statement; readonly name: string };
}

export function creationsIn({ graph, project }: Draft): Creation[] {
  const file = graph.parse(project.entry);
  return graph
    .nodesOf(file, graph.ts.isCallExpression)
    .filter(({ expression }) => FACTORIES.test(expression.getText(file.source)))
    .map((call) => ({ call, kept: keptIn(graph.ts, call) }));
}

/** `const app = await NestFactory.create(…);` or `app = await NestFactory.create(…);` */
function keptIn(typescript: typeof ts, call: ts.CallExpression): Creation['kept'] {
  const awaited = call.parent;
  if (!typescript.isAwaitExpression(awaited)) return undefined;
  let value: ts.Node = awaited;
  while (typescript.isAsExpression(value.parent) || typescript.isParenthesizedExpression(value.parent))
    value = value.parent;
  const holder = value.parent;
  if (typescript.isVariableDeclaration(holder) && typescript.isIdentifier(holder.name)) {
    const statement = holder.parent.parent;
    return typescript.isVariableStatement(statement) ? { statement, name: holder.name.text } : undefined;
  }
  if (!typescript.isBinaryExpression(holder) || holder.operatorToken.kind !== typescript.SyntaxKind.EqualsToken)
    return undefined;
  const statement = holder.parent;
  return typescript.isIdentifier(holder.left) && typescript.isExpressionStatement(statement)
    ? { statement, name: holder.left.text }
    : undefined;
}

/** Adds `app.enableShutdownHooks()` after the creation: without it, Nest calls no shutdown hook on SIGTERM. */
export function addShutdownHooks(draft: Draft): void {
  const { graph, project } = draft;
  const isEnabled = ({ expression }: ts.CallExpression) =>
    graph.ts.isPropertyAccessExpression(expression) && expression.name.text === 'enableShutdownHooks';
  if (graph.relevant().some((file) => graph.nodesOf(file, graph.ts.isCallExpression).some(isEnabled))) return;
  const [creation, ...others] = creationsIn(draft);
  if (creation?.kept && others.length === 0) {
    graph.parse(project.entry).editor.addAfter(creation.kept.statement, `${creation.kept.name}.enableShutdownHooks();`);
    return;
  }
  draft.manual.push({
    where: `in ${project.entry}, after each application is created`,
    lines: 'app.enableShutdownHooks();',
  });
}
