import { added, type Files, init, PROJECT } from './project.js';

const DATABASE = 'src/database.module.ts';
const ENTITIES = '...IDEMPOTENCY_ENTITIES';
const MIGRATIONS = '...IDEMPOTENCY_MIGRATIONS';

/** A project whose TypeORM is set up so. */
const withOptions = (call: string, more: Files = {}) => ({
  ...PROJECT,
  [DATABASE]: `import { TypeOrmModule } from '@nestjs/typeorm';
import { options } from './options.js';

@Module({ imports: [TypeOrmModule.${call}] })
export class DatabaseModule {}
`,
  ...more,
});

const changed = (files: Files) => {
  const done = init(files);
  const paths = done.plan.changes.map(({ path }) => path).filter((path) => !/main|app\.module/.test(path));
  return { ...done, paths };
};

describe('entities and migrations', () => {
  test.each([
    [
      'autoLoadEntities and synchronize',
      `forRoot({ type: 'postgres', autoLoadEntities: true, synchronize: true })`,
      [],
    ],
    [
      'a list of entities',
      `forRoot({ type: 'postgres', entities: [User], synchronize: true })`,
      [`entities: [User, ${ENTITIES}]`],
    ],
    [
      'files of entities',
      `forRoot({ type: 'postgres', entities: ['dist/**/*.entity.js'], synchronize: true })`,
      [`entities: ['dist/**/*.entity.js', ${ENTITIES}]`],
    ],
    [
      'no entities',
      `forRoot({ type: 'postgres', synchronize: true })`,
      [`synchronize: true, entities: [${ENTITIES}] }`],
    ],
    [
      'migrations',
      `forRoot({ type: 'postgres', autoLoadEntities: true, migrations: [First], migrationsRun: true })`,
      [`migrations: [First, ${MIGRATIONS}]`],
    ],
    [
      'migrations by files',
      `forRoot({ type: 'postgres', autoLoadEntities: true, migrations: ['dist/m/*.js'] })`,
      [`migrations: ['dist/m/*.js', ${MIGRATIONS}]`],
    ],
    [
      'both',
      `forRoot({ type: 'postgres', entities: [], migrations: [] })`,
      [`entities: [${ENTITIES}]`, `migrations: [${MIGRATIONS}]`],
    ],
    [
      'a factory',
      `forRootAsync({ inject: [C], useFactory: (c: C) => ({ type: 'postgres', entities: [], synchronize: true }) })`,
      [`entities: [${ENTITIES}]`],
    ],
    [
      'a factory with a body',
      `forRootAsync({ useFactory: async () => { const o = { type: 'postgres' as const, entities: [], synchronize: true }; return o; } })`,
      [`entities: [${ENTITIES}]`],
    ],
    [
      'a method',
      `forRootAsync({ useFactory() { return { type: 'postgres', entities: [], synchronize: true }; } })`,
      [`entities: [${ENTITIES}]`],
    ],
  ])('%s', (_, call, pieces) => {
    const { plan, files, paths } = changed(withOptions(call));
    expect(plan.manual).toEqual([]);
    expect(paths).toEqual(pieces.length > 0 ? [DATABASE] : []);
    for (const piece of pieces) expect(files[DATABASE]).toContain(piece);
    expect(/import .*IDEMPOTENCY_ENTITIES/.test(files[DATABASE])).toBe(pieces.join().includes(ENTITIES));
    expect(/import .*IDEMPOTENCY_MIGRATIONS/.test(files[DATABASE])).toBe(pieces.join().includes(MIGRATIONS));
  });

  test.each([
    [
      'a constant of another file',
      'forRoot(options)',
      `export const options: TypeOrmModuleOptions = {\n  type: 'postgres',\n  entities: [User],\n  migrations: [First],\n};\n`,
    ],
    [
      'a data source of another file',
      'forRoot(options)',
      `export const options = new DataSource({\n  type: 'postgres',\n  entities: [User],\n  migrations: [First],\n}).options;\n`,
    ],
    [
      'a spread',
      'forRoot({ ...options, retryAttempts: 3 })',
      `export const options = {\n  type: 'postgres',\n  entities: [User],\n  migrations: [First],\n} satisfies DataSourceOptions;\n`,
    ],
    [
      'a function',
      'forRootAsync({ useFactory: options })',
      `export function options() {\n  return {\n  entities: [User],\n  migrations: [First],\n  };\n}\n`,
    ],
    [
      'a class',
      'forRootAsync({ useClass: options })',
      `export class options {\n  createTypeOrmOptions() {\n    return {\n  entities: [User],\n  migrations: [First],\n    };\n  }\n}\n`,
    ],
  ])('in %s', (_, call, text) => {
    const { plan, paths, files } = changed(withOptions(call, { 'src/options.ts': text }));
    expect(plan.manual).toEqual([]);
    expect(paths).toEqual(['src/options.ts']);
    expect(files['src/options.ts']).toContain(
      `  entities: [User, ${ENTITIES}],\n  migrations: [First, ${MIGRATIONS}],\n`,
    );
    expect(files['src/options.ts']).toMatch(/^import \{ IDEMPOTENCY_ENTITIES \} from 'nestjs-idempotency';\n/);
  });

  test("a data source for TypeORM's command line", () => {
    const { plan, files, paths } = changed(
      withOptions(`forRoot({ type: 'postgres', autoLoadEntities: true })`, {
        'package.json': PROJECT['package.json'].replace(
          '"type"',
          '"scripts":{"m":"typeorm -d ./ops/source.ts migration:run"},"type"',
        ),
        'ops/source.ts': `import { DataSource } from 'typeorm';\n\nexport default new DataSource({\n  type: 'postgres',\n  entities: ['src/**/*.entity.ts'],\n  migrations: ['src/migrations/*.ts'],\n});\n`,
      }),
    );
    expect(paths).toEqual(['ops/source.ts']);
    expect(files['ops/source.ts']).toContain(
      `entities: ['src/**/*.entity.ts'],\n  migrations: ['src/migrations/*.ts', ${MIGRATIONS}],`,
    );
    expect(plan.notes).toEqual([]);
    expect(plan.found).toContain('tables by migrations');
  });

  test('options that the application and the command line share get one of each', () => {
    const { files, paths } = changed(
      withOptions(`forRoot(options)`, {
        'src/options.ts': `export const options = { type: 'postgres', entities: [User], migrations: [First] };\n`,
        'src/data-source.ts': `export default new DataSource(options);\nimport { options } from './options.js';\n`,
      }),
    );
    expect(paths).toEqual(['src/options.ts']);
    expect(files['src/options.ts'].match(/\.\.\.IDEMPOTENCY_MIGRATIONS/g)).toHaveLength(1);
  });

  test.each([
    ['options from elsewhere', `forRootAsync({ useFactory: (config) => config.get('database') })`, 1, 1],
    ['a spread that is unknown', `forRoot({ ...external, synchronize: true })`, 1, 1],
    ['entities that are computed', `forRoot({ type: 'postgres', entities: all(), synchronize: true })`, 1, 1],
    ['autoLoadEntities at times', `forRoot({ type: 'postgres', autoLoadEntities: isDev, synchronize: true })`, 1, 1],
    ['synchronize at times', `forRoot({ type: 'postgres', autoLoadEntities: true, synchronize: isDev })`, 0, 1],
    ['migrations that are computed', `forRoot({ type: 'postgres', autoLoadEntities: true, migrations: all() })`, 1, 0],
    ['two data sources with names', `forRoot({ name: 'a' }), TypeOrmModule.forRoot({ name: 'b' })`, 1, 0],
  ])('%s: not guessed at', (_, call, manual, notes) => {
    const { plan, paths } = changed(withOptions(call));
    expect(paths).toEqual([]);
    expect(plan.manual).toHaveLength(manual);
    expect(plan.notes).toHaveLength(notes);
  });

  test('a second data source with a name is left alone', () => {
    const call = `forRoot({ type: 'postgres', entities: [], synchronize: true }), TypeOrmModule.forRoot({ name: 'b', entities: [] })`;
    expect(changed(withOptions(call)).files[DATABASE]).toContain(
      `entities: [${ENTITIES}], synchronize: true }), TypeOrmModule.forRoot({ name: 'b', entities: [] })`,
    );
  });

  test('a data source that the application makes itself', () => {
    const { plan } = changed({
      ...PROJECT,
      [DATABASE]: `import { DataSource } from 'typeorm';\nexport class DatabaseModule {}\nexport const source = new DataSource({});\n`,
    });
    expect(plan.manual[0].where).toContain(DATABASE);
  });
});

describe('without TypeORM', () => {
  const bare = {
    ...PROJECT,
    [DATABASE]: 'export class DatabaseModule {}\n',
    'package.json': '{ "dependencies": { "@nestjs/core": "^11.0.0" } }',
  };

  test('says what to install, and how to have it added', () => {
    expect(() => init(bare)).toThrow(
      'There is no TypeOrmModule.forRoot() in this application, and nestjs-idempotency keeps its records through TypeORM. Give --database with one of sqlite, postgres, mysql, mariadb, to have it added, or set TypeORM up first: npm install nestjs-idempotency @nestjs/typeorm@11 typeorm@1 pg@8',
    );
    expect(() => init({ ...bare, 'pnpm-lock.yaml': '' })).toThrow('pnpm add nestjs-idempotency');
  });

  test('adds SQLite with tables that synchronize makes', () => {
    const done = init(bare, { database: 'sqlite' });
    expect(added(done, 'src/app.module.ts').join('\n')).toBe(`import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
  imports: [DatabaseModule, TypeOrmModule.forRoot({
    type: 'better-sqlite3',
    database: 'app.sqlite',
    enableWAL: true,
    autoLoadEntities: true,
    synchronize: true,
  }), IdempotencyModule.forRoot()],`);
    expect(done.plan.install).toBe('npm install nestjs-idempotency @nestjs/typeorm@11 typeorm@1 better-sqlite3@12');
    expect(done.plan.notes).toEqual([]);
  });

  test.each(['postgres', 'mysql', 'mariadb'] as const)('adds %s with migrations', (database) => {
    const { files, plan } = init(
      { ...bare, 'src/app.module.ts': PROJECT['src/app.module.ts'].replace('[DatabaseModule]', '[]') },
      { database },
    );
    expect(plan.notes).toEqual([
      `src/app.module.ts reads DATABASE_URL: set it in the environment, such as ${database}://localhost/app`,
    ]);
    expect(files['src/app.module.ts']).toContain(`  imports: [
    TypeOrmModule.forRoot({
      type: '${database}',
      url: process.env.DATABASE_URL!,
      autoLoadEntities: true,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
      migrationsRun: true,
    }),
    IdempotencyModule.forRoot(),
  ],
`);
  });
});

test('says that the file that reads DATABASE_URL does so before @nestjs/config', () => {
  const manifest = { dependencies: { '@nestjs/core': '^11.0.0', '@nestjs/config': '^4.0.0' } };
  const files = {
    ...PROJECT,
    [DATABASE]: 'export class DatabaseModule {}\n',
    'package.json': JSON.stringify(manifest),
  };
  expect(init(files, { database: 'postgres' }).plan.notes).toEqual([
    "src/app.module.ts reads DATABASE_URL before @nestjs/config has read .env files: set it in the environment, or import 'dotenv/config' first in src/main.ts",
  ]);
});

test('a driver that is not supported is refused', () => {
  expect(() => init(withOptions(`forRoot({ type: 'mssql' })`))).toThrow(
    "The data source in src/database.module.ts is of type 'mssql'; nestjs-idempotency works with better-sqlite3, postgres, mysql, mariadb",
  );
});

test('a driver that is missing is to be installed', () => {
  expect(init(withOptions(`forRoot({ type: 'mysql', autoLoadEntities: true, synchronize: true })`)).plan.install).toBe(
    'npm install mysql2@3',
  );
});
