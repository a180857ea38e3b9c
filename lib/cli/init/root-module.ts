import type ts from 'typescript';
import { type Creation, creationsIn } from './entry-file.js';
import type { Found } from './module-graph.js';
import { OptionsReader, property, valueOf } from './options-reader.js';
import { DATABASES, type DatabaseName, type Draft } from './plan.js';
import { variableNote } from './project.js';
import { addRedisClient, addRedisListener, REDIS_LINES } from './redis.js';
import type { TypeScript } from './source-editor.js';

type RootModule = Found<ts.ClassDeclaration>;

/** Adds IdempotencyModule to the root module, and with `--database` TypeOrmModule before it. */
export function addModules(draft: Draft, root: RootModule | undefined, database: DatabaseName | undefined): void {
  if (root) draft.found.push(`root module ${root.node.name?.text ?? ''} in ${root.file.path}`);
  const [registered] = draft.graph.registrationsOf('nestjs-idempotency', 'IdempotencyModule');
  if (registered) draft.found.push(`IdempotencyModule in ${registered.file.path}`);
  if (registered && draft.options.redis) addRedisTo(draft, registered);

  const typeOrm = database && typeOrmModule(database);
  const wanted = [...(typeOrm ? [typeOrm] : []), ...(registered ? [] : ['IdempotencyModule.forRoot()'])];
  if (wanted.length === 0) return;
  const list = root && importsOf(draft, root);
  if (!root || !list) {
    draft.manual.push({
      where: root ? `in \`imports\` of ${root.file.path}` : 'in `imports` of the root module',
      lines: [
        ...(registered ? [] : [`import { IdempotencyModule } from 'nestjs-idempotency';`]),
        ...(typeOrm ? TYPEORM_IMPORTS(database).map(([module, name]) => `import { ${name} } from '${module}';`) : []),
        ...(draft.options.redis && !registered ? [REDIS_LINES] : []),
        '',
        ...wanted.map((text) => `${draft.options.redis ? text.replace('forRoot()', 'forRoot({ redis })') : text},`),
      ].join('\n'),
    });
    return;
  }
  const { editor } = root.file;
  const client = draft.options.redis && !registered ? addRedisClient(draft, root) : undefined;
  const imports: [module: string, name: string][] = [
    ...(registered ? [] : [['nestjs-idempotency', 'IdempotencyModule'] as [string, string]]),
    ...(database ? TYPEORM_IMPORTS(database) : []),
  ];
  const locals = imports.map(([module, name]) => [name, editor.import(module, name)] as const);
  if (database && database !== 'sqlite') {
    draft.notes.push(variableNote(draft.project, root.file.path, 'DATABASE_URL', `${database}://localhost/app`));
  }
  const named = (text: string) => locals.reduce((one, [name, local]) => one.replace(name, local), text);
  list(wanted.map((text) => named(client ? text.replace('forRoot()', `forRoot(${redisOption(client)})`) : text)));
}

const redisOption = (client: string) => (client === 'redis' ? '{ redis }' : `{ redis: ${client} }`);

/** Returns the set-up of the README's quick start. */
function typeOrmModule(database: DatabaseName): string {
  const { type } = DATABASES[database];
  const options =
    database === 'sqlite'
      ? [`database: 'app.sqlite'`, 'enableWAL: true', 'autoLoadEntities: true', 'synchronize: true']
      : [
          'url: process.env.DATABASE_URL!',
          'autoLoadEntities: true',
          'migrations: [...IDEMPOTENCY_MIGRATIONS]',
          'migrationsRun: true',
        ];
  return `TypeOrmModule.forRoot({\n${[`type: '${type}'`, ...options].map((one) => `  ${one},\n`).join('')}})`;
}

const TYPEORM_IMPORTS = (database: DatabaseName): [module: string, name: string][] => [
  ['@nestjs/typeorm', 'TypeOrmModule'],
  ...(database === 'sqlite' ? [] : [['nestjs-idempotency/migrations', 'IDEMPOTENCY_MIGRATIONS'] as [string, string]]),
];

/** Returns the module that the application is created from. */
export function rootModuleOf(draft: Draft): RootModule | undefined {
  const { ts } = draft.graph;
  const names = creationsIn(draft).map((creation) => moduleNameIn(ts, creation));
  const [name, ...others] = new Set(names);
  if (name === undefined || others.length > 0) return undefined;
  const declared = draft.graph.declarationOf(name, draft.graph.parse(draft.project.entry));
  return declared && ts.isClassDeclaration(declared.node) ? { node: declared.node, file: declared.file } : undefined;
}

/** Returns the name in `create(AppModule)` or `create(AppModule.register())`. */
function moduleNameIn(ts: TypeScript, { call }: Creation): string | undefined {
  let node: ts.Node | undefined = call.arguments[0];
  while (node && (ts.isCallExpression(node) || ts.isPropertyAccessExpression(node))) node = node.expression;
  return node && ts.isIdentifier(node) ? node.text : undefined;
}

/** Returns a function that adds to the `imports` of a module; `undefined` if it is not certain how. */
function importsOf(
  { graph }: Draft,
  { node, file }: Found<ts.ClassDeclaration>,
): ((texts: readonly string[]) => void) | undefined {
  const { ts } = graph;
  const decorator = ts
    .getDecorators(node)
    ?.map(({ expression }) => expression)
    .find(
      (one): one is ts.CallExpression => ts.isCallExpression(one) && one.expression.getText(file.source) === 'Module',
    );
  if (!decorator) return undefined;
  const [metadata] = decorator.arguments;
  if (!metadata) return (texts) => file.editor.insertStyled(decorator.end - 1, `{\n  ${importsProperty(texts)}\n}`);
  if (!ts.isObjectLiteralExpression(metadata)) return undefined;
  const imports = property(ts, [{ node: metadata, file }], 'imports');
  if (!imports) {
    // A spread may bring `imports`.
    if (metadata.properties.some((one) => ts.isSpreadAssignment(one))) return undefined;
    return (texts) => file.editor.prepend(metadata, importsProperty(texts).replace(/,$/, ''));
  }
  const array = new OptionsReader(graph).array(valueOf(ts, imports.node), file);
  if (array?.file !== file) return undefined;
  return (texts) => texts.forEach((text) => file.editor.append(array.node, text));
}

function importsProperty(texts: readonly string[]): string {
  if (texts.length === 1) return `imports: [${texts[0]}],`;
  return `imports: [\n${texts.map((text) => `  ${text.replaceAll('\n', '\n  ')},\n`).join('')}],`;
}

/** Adds Redis to a module that is registered already. */
function addRedisTo(draft: Draft, { node, file }: Found<ts.CallExpression>): void {
  const { ts } = draft.graph;
  const [options] = node.arguments;
  const existing =
    options && ts.isObjectLiteralExpression(options) ? property(ts, [{ node: options, file }], 'redis') : undefined;
  if (existing) return addRedisListener(draft, valueOf(ts, existing.node), file);
  const owner = enclosingClass(ts, node);
  const isPlain = node.expression.getText(file.source).endsWith('forRoot') && owner !== undefined;
  if (!isPlain || (options && !ts.isObjectLiteralExpression(options))) {
    // The options may have a client already.
    if (file.source.text.includes('redis')) return;
    draft.manual.push({
      where: `in the options of IdempotencyModule in ${file.path}`,
      lines: `${REDIS_LINES}\n\nredis,`,
    });
    return;
  }
  const client = addRedisClient(draft, { node: owner, file });
  const entry = client === 'redis' ? 'redis' : `redis: ${client}`;
  if (options) file.editor.append(options, entry);
  else file.editor.insertStyled(node.end - 1, redisOption(client));
}

function enclosingClass(ts: TypeScript, node: ts.Node): ts.ClassDeclaration | undefined {
  let at: ts.Node | undefined = node;
  while (at && !ts.isClassDeclaration(at)) at = at.parent;
  return at;
}
