import type ts from 'typescript';
import type { Found, ModuleGraph, SourceFile } from './module-graph.js';
import type { TypeScript } from './source-editor.js';

/** The object that an expression stands for, as far as it can be read without running the program. */
export interface ReadOptions {
  /** The object, followed by those that it spreads. */
  readonly literals: readonly Found<ts.ObjectLiteralExpression>[];
  /** Whether all that it spreads was read. If not, it may have any option. */
  readonly isComplete: boolean;
}

const UNKNOWN: ReadOptions = { literals: [], isComplete: false };

/** Follows names, factories and classes to the object or the array that an expression stands for. */
export class OptionsReader {
  private readonly ts;

  constructor(private readonly graph: ModuleGraph) {
    this.ts = graph.ts;
  }

  read(expression: ts.Node | undefined, file: SourceFile, depth = 0): ReadOptions {
    const { ts } = this;
    if (!expression || depth > 8) return UNKNOWN;
    const node = this.unwrap(expression);
    const next = (other: ts.Node | undefined, from = file) => this.read(other, from, depth + 1);
    if (ts.isObjectLiteralExpression(node)) {
      const spreads = node.properties.filter((one) => ts.isSpreadAssignment(one));
      const parts = spreads.map(({ expression: one }) => next(one));
      return {
        literals: [{ node, file }, ...parts.flatMap(({ literals }) => literals)],
        isComplete: parts.every(({ isComplete }) => isComplete),
      };
    }
    if (
      ts.isArrowFunction(node) ||
      ts.isFunctionExpression(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isMethodDeclaration(node)
    ) {
      return next(this.returnedBy(node));
    }
    if (ts.isNewExpression(node) && node.expression.getText(file.source) === 'DataSource')
      return next(node.arguments?.[0]);
    if (ts.isPropertyAccessExpression(node) && node.name.text === 'options') return next(node.expression);
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) return next(node.expression);
    if (!ts.isIdentifier(node)) return UNKNOWN;
    const declared = this.graph.declarationOf(node.text, file);
    if (declared && ts.isVariableDeclaration(declared.node)) return next(declared.node.initializer, declared.file);
    return declared && ts.isFunctionDeclaration(declared.node) ? next(declared.node, declared.file) : UNKNOWN;
  }

  /** Reads the object that the factory or the class of a `forRootAsync()` returns. */
  readAsync(argument: ts.Node | undefined, file: SourceFile): ReadOptions {
    const { ts } = this;
    const { literals } = this.read(argument, file);
    const factory = property(ts, literals, 'useFactory');
    if (factory) return this.read(valueOf(ts, factory.node), factory.file);
    const provider = property(ts, literals, 'useClass') ?? property(ts, literals, 'useExisting');
    const name = provider && valueOf(ts, provider.node);
    if (!name || !ts.isIdentifier(name)) return UNKNOWN;
    const declared = this.graph.declarationOf(name.text, provider.file);
    if (!declared || !ts.isClassDeclaration(declared.node)) return UNKNOWN;
    const method = declared.node.members.find((one) => one.name?.getText() === 'createTypeOrmOptions');
    return this.read(method, declared.file);
  }

  /** Returns the array that an expression stands for. */
  array(expression: ts.Node, file: SourceFile): Found<ts.ArrayLiteralExpression> | undefined {
    const { ts } = this;
    const node = this.unwrap(expression);
    if (ts.isArrayLiteralExpression(node)) return { node, file };
    const declared = ts.isIdentifier(node) ? this.graph.declarationOf(node.text, file) : undefined;
    if (!declared || !ts.isVariableDeclaration(declared.node) || !declared.node.initializer) return undefined;
    const value = this.unwrap(declared.node.initializer);
    return ts.isArrayLiteralExpression(value) ? { node: value, file: declared.file } : undefined;
  }

  private unwrap(node: ts.Node): ts.Node {
    const { ts } = this;
    let inner = node;
    while (
      ts.isParenthesizedExpression(inner) ||
      ts.isAsExpression(inner) ||
      ts.isSatisfiesExpression(inner) ||
      ts.isNonNullExpression(inner) ||
      ts.isAwaitExpression(inner)
    ) {
      inner = inner.expression;
    }
    return inner;
  }

  /** Returns the value that a function returns; `undefined` if it returns in several places. */
  private returnedBy({ body }: ts.FunctionLikeDeclaration): ts.Node | undefined {
    const { ts } = this;
    if (!body || !ts.isBlock(body)) return body;
    const returned: ts.Expression[] = [];
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node)) return;
      if (ts.isReturnStatement(node) && node.expression) returned.push(node.expression);
      ts.forEachChild(node, visit);
    };
    visit(body);
    if (returned.length !== 1) return undefined;
    const [only] = returned;
    if (!ts.isIdentifier(only)) return only;
    const local = body.statements
      .filter((one) => ts.isVariableStatement(one))
      .flatMap((one) => [...one.declarationList.declarations])
      .find((one) => ts.isIdentifier(one.name) && one.name.text === only.text);
    return local?.initializer ?? only;
  }
}

/** Returns a property by its name, from the first object that has it. */
export function property(
  ts: TypeScript,
  literals: readonly Found<ts.ObjectLiteralExpression>[],
  name: string,
): Found<ts.ObjectLiteralElementLike> | undefined {
  for (const { node, file } of literals) {
    const found = node.properties.find(({ name: one }) => one && textOf(ts, one) === name);
    if (found) return { node: found, file };
  }
  return undefined;
}

export function valueOf(ts: TypeScript, node: ts.ObjectLiteralElementLike): ts.Node {
  if (ts.isPropertyAssignment(node)) return node.initializer;
  return ts.isShorthandPropertyAssignment(node) ? node.name : node;
}

function textOf(ts: TypeScript, name: ts.PropertyName): string | undefined {
  return ts.isIdentifier(name) || ts.isStringLiteral(name) ? name.text : undefined;
}
