import type ts from 'typescript';
import type { Found, ModuleGraph, SourceFile } from './module-graph.js';

/** The object that a call is given, as far as it can be read without running the program. */
export interface ReadOptions {
  /** The object, then those that it spreads. */
  readonly literals: readonly Found<ts.ObjectLiteralExpression>[];
  /** Whether everything that it spreads was read. */
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

  /** What `forRootAsync()` is given makes. */
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

  /** The array that an expression stands for. */
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

  /** What a function returns, where it returns at one place. */
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

type Ts = ModuleGraph['ts'];

/** A property by its name, in the first of the objects that has it. */
export function property(
  ts: Ts,
  literals: readonly Found<ts.ObjectLiteralExpression>[],
  name: string,
): Found<ts.ObjectLiteralElementLike> | undefined {
  for (const { node, file } of literals) {
    const found = node.properties.find(({ name: one }) => one && textOf(ts, one) === name);
    if (found) return { node: found, file };
  }
  return undefined;
}

export function valueOf(ts: Ts, node: ts.ObjectLiteralElementLike): ts.Node {
  if (ts.isPropertyAssignment(node)) return node.initializer;
  return ts.isShorthandPropertyAssignment(node) ? node.name : node;
}

function textOf(ts: Ts, name: ts.PropertyName): string | undefined {
  return ts.isIdentifier(name) || ts.isStringLiteral(name) ? name.text : undefined;
}
