import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { root } from '../../../scripts/workspace.mjs';
import { PROBLEMS } from '../../../lib/problems/problem.js';

const PAGE = textOf('docs/troubleshooting.md');

/** Where those of the command line are. */
const CLI_PAGE = textOf('docs/cli.md');

const CLI = 'lib/cli/';

/** Where those of the operators' page are. */
const DASHBOARD_PAGE = textOf('docs/dashboard.md');

const DASHBOARD = 'lib/dashboard/';

/** Shorter pieces of a message are in every text. */
const TELLING = 12;

/** What no user reads: caught where it is thrown, or a reason inside of a message that is on the page. */
const INTERNAL = new Set([
  'no Redis node confirmed the subscription in time',
  'not a sealed value',
  'unknown encryption key "',
  'never called',
  // The connection that listens is opened again.
  'the server takes no writes',
  'announcements could not be sent',
  // Of a handler whose client has gone.
  'the request was answered before its handler began',
  // As node's own response says them: of a response that is held back.
  'Cannot change headers after they are sent to the client',
  'Invalid status code:',
]);

/** The first argument names the option, and not what is wrong. */
const NAMES_FIRST = /^(IdempotencyOptionError|check)$/;

/** The second argument is what to type next, a command that speaks for itself. */
const SAYS_NEXT = /^usageError$/;

/** Whose arguments are messages: what is thrown, what is logged, and what makes either of them. */
const CLASSES = /^(\w*Error|NodeFailure)$/;
const FUNCTIONS = /(^|\.)(warn|error|tell|check|invalid|usageError|refusal|note)$/;

test.each(Object.entries(PROBLEMS))('the problem %s is documented', (code, { status }) => {
  expect(PAGE).toContain(`| \`${code}\` | ${status} |`);
});

test('every error and log line is documented', () => {
  const messages = sources().flatMap(messagesIn);
  expect(messages.length).toBeGreaterThan(50);
  expect(messages.filter(({ at }) => at.startsWith(CLI)).length).toBeGreaterThan(25);
  const missing = messages.flatMap(({ at, pieces }) => {
    const isDocumented = (piece: string) =>
      PAGE.includes(piece) ||
      (at.startsWith(CLI) && CLI_PAGE.includes(piece)) ||
      (at.startsWith(DASHBOARD) && DASHBOARD_PAGE.includes(piece));
    return pieces.filter((piece) => !INTERNAL.has(piece) && !isDocumented(piece)).map((piece) => `${at}: ${piece}`);
  });
  expect(missing).toEqual([]);
});

function textOf(page: string): string {
  return readFileSync(join(root, page), 'utf8').replace(/\s+/g, ' ');
}

function sources(): string[] {
  return readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('testing/'))
    .map((path) => join('lib', path));
}

interface Message {
  readonly at: string;
  readonly pieces: string[];
}

function messagesIn(path: string): Message[] {
  const source = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.ES2023, true);
  const messages: Message[] = [];
  const visit = (node: ts.Node): void => {
    const said = saidBy(node, source);
    if (said) {
      const pieces = said.flatMap((part) => piecesOf(part));
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      const documented = pieces
        .map((piece) => piece.replace(/\s+/g, ' ').trim())
        .filter(({ length }) => length >= TELLING);
      if (documented.length > 0) messages.push({ at: `${path}:${line}`, pieces: documented });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return messages;
}

/** What becomes of a message's text; `undefined` where no message is made. */
function saidBy(node: ts.Node, source: ts.SourceFile): readonly ts.Expression[] | undefined {
  // Why the command line does not show something.
  if (ts.isPropertyAssignment(node) && node.name.getText(source) === 'why') return [node.initializer];
  if (!makesMessage(node, source)) return undefined;
  const name = node.expression.getText(source);
  return (node.arguments ?? []).slice(NAMES_FIRST.test(name) ? 1 : 0, SAYS_NEXT.test(name) ? 1 : undefined);
}

function makesMessage(node: ts.Node, source: ts.SourceFile): node is ts.NewExpression | ts.CallExpression {
  if (ts.isNewExpression(node)) return CLASSES.test(node.expression.getText(source));
  if (!ts.isCallExpression(node)) return false;
  return node.expression.kind === ts.SyntaxKind.SuperKeyword
    ? classOf(node).endsWith('Error')
    : FUNCTIONS.test(node.expression.getText(source));
}

function classOf(node: ts.Node): string {
  for (let at = node; at; at = at.parent) if (ts.isClassDeclaration(at)) return at.name?.text ?? '';
  return '';
}

/** The parts of a message that are always the same. */
function piecesOf(node: ts.Node): string[] {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isTemplateExpression(node)) {
    return [node.head.text, ...node.templateSpans.flatMap((span) => [...piecesOf(span.expression), span.literal.text])];
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    return joined(piecesOf(node.left), piecesOf(node.right));
  }
  if (ts.isConditionalExpression(node)) return [...piecesOf(node.whenTrue), ...piecesOf(node.whenFalse)];
  return [];
}

/** `'a' + 'b'` is one piece. */
function joined(left: string[], right: string[]): string[] {
  return [...left.slice(0, -1), (left.at(-1) ?? '') + (right[0] ?? ''), ...right.slice(1)];
}
