import { posix } from 'node:path';
import type ts from 'typescript';
import { refusal } from '../exit-codes.js';
import type { Found } from './module-graph.js';
import { OptionsReader, property, type ReadOptions, valueOf } from './options-reader.js';
import { DATABASES, type Draft } from './plan.js';
import { dependsOn, majorOf } from './project.js';
import type { TypeScript } from './source-editor.js';

/** The packages of drivers, by the `type` of a data source. */
const DRIVERS = new Map<string, string>(Object.values(DATABASES).map(({ type, driver }) => [type, driver]));

const MIGRATION_LINES = `import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';

migrations: [...IDEMPOTENCY_MIGRATIONS], // and yours
migrationsRun: true,`;

const ENTITY_LINES = `autoLoadEntities: true, // or, with a list of entities:
entities: [...IDEMPOTENCY_ENTITIES], // from 'nestjs-idempotency', and yours`;

/**
 * Adds the library's entities and migrations to TypeORM. Returns whether TypeORM itself has to be set up.
 *
 * @throws CliError if there is neither TypeORM nor `--database`, or for a driver that the library does not support
 */
export function connectTypeOrm(draft: Draft): boolean {
  const { graph } = draft;
  const { ts } = graph;
  addPackages(draft);
  const calls = graph.registrationsOf('@nestjs/typeorm', 'TypeOrmModule');
  if (calls.length === 0) return withoutModule(draft);
  const reader = new OptionsReader(graph);
  const unnamed = calls.filter((call) => !isNamed(ts, reader, call));
  if (unnamed.length !== 1) {
    draft.manual.push({
      where: 'in the TypeORM data source that is to hold the records',
      lines: `${ENTITY_LINES}\n\n${MIGRATION_LINES}\n\nIdempotencyModule.forRoot({ dataSource: 'its name' }) // unless it is the default one`,
    });
    return false;
  }
  const [call] = unnamed;
  const isAsync = call.node.expression.getText(call.file.source).endsWith('Async');
  const [argument] = call.node.arguments;
  const read = isAsync ? reader.readAsync(argument, call.file) : reader.read(argument, call.file);
  assertSupported(draft, read);
  draft.found.push(`TypeOrmModule.${isAsync ? 'forRootAsync' : 'forRoot'}() in ${call.file.path}`);
  addEntities(draft, reader, read, call);
  addMigrations(draft, reader, read, call);
  return false;
}

function addPackages({ packages, project, graph, files }: Draft): void {
  const { manifest, nestMajor } = project;
  if (!dependsOn(manifest, 'nestjs-idempotency')) packages.add('nestjs-idempotency');
  if (!dependsOn(manifest, '@nestjs/typeorm')) packages.add(`@nestjs/typeorm@${nestMajor}`);
  if (!dependsOn(manifest, 'typeorm')) {
    packages.add(`typeorm@${majorOf(graph.ts, files, manifest, 'typeorm') === 0 ? '0.3' : '1'}`);
  }
}

/** For an application without TypeOrmModule: it makes its data source itself, or needs one. */
function withoutModule(draft: Draft): boolean {
  const { graph, options } = draft;
  if (options.database) {
    addDriver(draft, DATABASES[options.database].driver);
    draft.found.push('no TypeORM yet');
    return true;
  }
  const own = graph.relevant().find(({ source }) => /\bnew DataSource\s*\(/.test(source.text));
  if (own) {
    draft.manual.push({
      where: `where ${own.path} makes its data source, and in the options of IdempotencyModule`,
      lines: `entities: [...IDEMPOTENCY_ENTITIES], // from 'nestjs-idempotency', and yours\n\ndataSource, // IdempotencyModule.forRootAsync() can inject it`,
    });
    return false;
  }
  throw refusal(
    'There is no TypeOrmModule.forRoot() in this application, and nestjs-idempotency keeps its records through TypeORM. ' +
      `Give --database with one of ${Object.keys(DATABASES).join(', ')}, to have it added, or set TypeORM up first: ` +
      installCommand(draft, [...draft.packages, 'pg@8']),
  );
}

/** Returns the command of the project's own package manager. */
export function installCommand({ files }: Draft, packages: readonly string[]): string {
  const names = packages.join(' ');
  if (files.read('pnpm-lock.yaml') !== undefined) return `pnpm add ${names}`;
  if (files.read('yarn.lock') !== undefined) return `yarn add ${names}`;
  if (files.read('bun.lock') !== undefined) return `bun add ${names}`;
  return `npm install ${names}`;
}

type Call = Found<ts.CallExpression>;

function isNamed(ts: TypeScript, reader: OptionsReader, { node, file }: Call): boolean {
  const name = property(ts, reader.read(node.arguments[0], file).literals, 'name');
  if (!name) return false;
  const value = valueOf(ts, name.node);
  return !(ts.isStringLiteral(value) && value.text === 'default');
}

function assertSupported(draft: Draft, { literals }: ReadOptions): void {
  const { ts } = draft.graph;
  const type = property(ts, literals, 'type');
  const value = type && valueOf(ts, type.node);
  if (!value || !ts.isStringLiteral(value)) return;
  const driver = DRIVERS.get(value.text);
  if (!driver) {
    throw refusal(
      `The data source in ${type.file.path} is of type '${value.text}'; nestjs-idempotency works with ${[...DRIVERS.keys()].join(', ')}`,
    );
  }
  addDriver(draft, driver);
}

function addDriver({ project, packages }: Draft, driver: string): void {
  if (!dependsOn(project.manifest, driver.replace(/@\d+$/, ''))) packages.add(driver);
}

function addEntities(draft: Draft, reader: OptionsReader, read: ReadOptions, call: Call): void {
  const { graph } = draft;
  const { ts } = graph;
  const auto = property(ts, read.literals, 'autoLoadEntities');
  const isTrue = auto && valueOf(ts, auto.node).kind === ts.SyntaxKind.TrueKeyword;
  const mentions = (pattern: RegExp) => graph.relevant().some(({ source }) => pattern.test(source.text));
  if (isTrue || mentions(/\bIDEMPOTENCY_ENTITIES\b/)) return;
  // The options cannot be read here, and may be those that another file sets.
  if (!read.isComplete && mentions(/\bautoLoadEntities['"]?\s*:\s*true\b/)) return;
  const entities = property(ts, read.literals, 'entities');
  const list = entities && reader.array(valueOf(ts, entities.node), entities.file);
  const value = auto && valueOf(ts, auto.node);
  const isOff = !value || value.kind === ts.SyntaxKind.FalseKeyword;
  if (isOff && list) {
    const name = list.file.editor.import('nestjs-idempotency', 'IDEMPOTENCY_ENTITIES');
    list.file.editor.append(list.node, `...${name}`);
  } else if (isOff && !entities && read.isComplete) {
    const [{ node, file }] = read.literals;
    const name = file.editor.import('nestjs-idempotency', 'IDEMPOTENCY_ENTITIES');
    file.editor.append(node, `entities: [...${name}]`);
  } else {
    draft.manual.push({ where: `in the options of TypeORM in ${(entities ?? call).file.path}`, lines: ENTITY_LINES });
  }
}

/** Adds the library's migrations to those of the application, if migrations make its tables. */
function addMigrations(draft: Draft, reader: OptionsReader, read: ReadOptions, call: Call): void {
  const { graph } = draft;
  const { ts } = graph;
  const synchronize = property(ts, read.literals, 'synchronize');
  const isSynchronized = synchronize && valueOf(ts, synchronize.node).kind === ts.SyntaxKind.TrueKeyword;
  const sources = dataSources(draft);
  const places = [read, ...sources.map(({ node, file }) => reader.read(node.arguments?.[0], file))];
  let isPlaced = false;
  for (const { literals } of places) {
    const migrations = property(ts, literals, 'migrations');
    // A migration fails on tables that `synchronize` has made.
    if (!migrations || (isSynchronized && literals === read.literals)) continue;
    isPlaced = true;
    if (literals !== read.literals) draft.found.push(`a data source with migrations in ${literals[0].file.path}`);
    const list = reader.array(valueOf(ts, migrations.node), migrations.file);
    if (!list) {
      if (mentionsMigrations(migrations.file.source.text)) continue;
      draft.manual.push({ where: `in \`migrations\` of ${migrations.file.path}`, lines: MIGRATION_LINES });
    } else if (!mentionsMigrations(list.node.getText(list.file.source)) && !draft.placed.has(list.node)) {
      draft.placed.add(list.node);
      const name = list.file.editor.import('nestjs-idempotency/migrations', 'IDEMPOTENCY_MIGRATIONS');
      list.file.editor.append(list.node, `...${name}`);
    }
  }
  if (isSynchronized) {
    draft.found.push('tables by `synchronize`');
    if (!isPlaced)
      draft.notes.push('`synchronize` makes the tables, for development alone: in production, use migrations');
    return;
  }
  if (isPlaced) return void draft.found.push('tables by migrations');
  if (graph.relevant().some(({ source }) => mentionsMigrations(source.text))) return;
  draft.notes.push(
    `Nothing in ${call.file.path} says that migrations make the tables. Unless \`synchronize\` does, run \`npx nestjs-idempotency migrations run\`, or add to the options of TypeORM:\n\n${MIGRATION_LINES}`,
  );
}

function mentionsMigrations(text: string): boolean {
  return /\bIDEMPOTENCY_MIGRATIONS\b/.test(text);
}

/** Returns the `new DataSource({…})` of files for TypeORM's command line. */
function dataSources({ files, graph, project }: Draft): Found<ts.NewExpression>[] {
  const { ts } = graph;
  const folders = ['', project.folder, project.sourceRoot].flatMap((folder) => [
    folder,
    ...['config', 'database', 'db', 'typeorm'].map((name) => posix.join(folder, name)),
  ]);
  const listed = folders.flatMap((folder) => files.list(folder).map((name) => posix.join(folder, name)));
  const named = Object.values(project.manifest.scripts ?? {}).flatMap((script) =>
    [...script.matchAll(/(?:-d|--dataSource)[ =](\S+\.ts)/g)].map(([, path]) => posix.normalize(path)),
  );
  const paths = [...new Set([...listed, ...named])].filter((path) => /(?<!\.d|spec)\.[mc]?ts$/.test(path));
  return paths
    .filter((path) => /\bnew DataSource\s*\(/.test(files.read(path) ?? ''))
    .map((path) => graph.parse(path))
    .flatMap((file) =>
      graph
        .nodesOf(file, ts.isNewExpression)
        .filter(({ expression }) => expression.getText(file.source) === 'DataSource')
        .map((node) => ({ node, file })),
    );
}
