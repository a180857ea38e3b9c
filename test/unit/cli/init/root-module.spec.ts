import { added, init, PROJECT } from './project.js';

const MODULE = 'src/app.module.ts';
const IMPORT = `import { IdempotencyModule } from 'nestjs-idempotency';`;

const withModule = (text: string) => ({
  ...PROJECT,
  [MODULE]: `import { DatabaseModule } from './database.module.js';\n${text}`,
});

describe('the root module', () => {
  test.each([
    [
      'a list on one line',
      `@Module({ imports: [DatabaseModule] })`,
      `@Module({ imports: [DatabaseModule, IdempotencyModule.forRoot()] })`,
    ],
    [
      'a comma behind the last',
      `@Module({ imports: [DatabaseModule,] })`,
      `@Module({ imports: [DatabaseModule, IdempotencyModule.forRoot(),] })`,
    ],
    [
      'a list of several lines',
      `@Module({\n  imports: [\n    DatabaseModule,\n  ],\n})`,
      `@Module({\n  imports: [\n    DatabaseModule,\n    IdempotencyModule.forRoot(),\n  ],\n})`,
    ],
    [
      'several lines, without a comma',
      `@Module({\n  imports: [\n    DatabaseModule // first\n  ]\n})`,
      `@Module({\n  imports: [\n    DatabaseModule, // first\n    IdempotencyModule.forRoot()\n  ]\n})`,
    ],
    [
      'a comment behind the comma',
      `@Module({\n  imports: [\n    DatabaseModule, // first\n    // more to come\n  ],\n})`,
      `@Module({\n  imports: [\n    DatabaseModule, // first\n    IdempotencyModule.forRoot(),\n    // more to come\n  ],\n})`,
    ],
    [
      'tabs',
      `@Module({\n\timports: [\n\t\tDatabaseModule,\n\t],\n})`,
      `@Module({\n\timports: [\n\t\tDatabaseModule,\n\t\tIdempotencyModule.forRoot(),\n\t],\n})`,
    ],
    [
      'no imports',
      `@Module({\n  providers: [],\n})`,
      `@Module({\n  imports: [IdempotencyModule.forRoot()],\n  providers: [],\n})`,
    ],
    [
      'no imports, on one line',
      `@Module({ providers: [] })`,
      `@Module({ imports: [IdempotencyModule.forRoot()], providers: [] })`,
    ],
    [
      'no imports, without spaces',
      `@Module({providers: []})`,
      `@Module({imports: [IdempotencyModule.forRoot()], providers: []})`,
    ],
    ['an empty object', `@Module({})`, `@Module({ imports: [IdempotencyModule.forRoot()] })`],
    [
      'an empty list of two lines',
      `@Module({\n  imports: [\n  ],\n})`,
      `@Module({\n  imports: [\n    IdempotencyModule.forRoot(),\n  ],\n})`,
    ],
    [
      'a list of comments',
      `@Module({\n  imports: [\n    // none\n  ],\n})`,
      `@Module({\n  imports: [\n    // none\n    IdempotencyModule.forRoot(),\n  ],\n})`,
    ],
    [
      'other decorators',
      `@Global()\n@Module({ imports: [DatabaseModule] })`,
      `@Global()\n@Module({ imports: [DatabaseModule, IdempotencyModule.forRoot()] })`,
    ],
    [
      'what is spread into the list',
      `@Module({ imports: [...[DatabaseModule]] })`,
      `@Module({ imports: [...[DatabaseModule], IdempotencyModule.forRoot()] })`,
    ],
    [
      'a list of its own name',
      `const modules = [DatabaseModule];\n@Module({ imports: modules })`,
      `const modules = [DatabaseModule, IdempotencyModule.forRoot()];\n@Module({ imports: modules })`,
    ],
  ])('%s', (_, before, after) => {
    const { files, plan } = init(withModule(`${before}\nexport class AppModule {}\n`));
    const [first, second, ...rest] = files[MODULE].split('\n');
    expect([first, second]).toEqual([IMPORT, `import { DatabaseModule } from './database.module.js';`]);
    expect(rest.join('\n')).toBe(`${after}\nexport class AppModule {}\n`);
    expect(plan.manual).toEqual([]);
  });

  test('without arguments', () => {
    const { files } = init(withModule(`@Module()\nexport class AppModule {}\n`), { database: 'sqlite' });
    expect(files[MODULE]).toContain('@Module({\n  imports: [');
  });

  test.each([
    ['a list that is computed', `@Module({ imports: modulesOf(process.env) })\nexport class AppModule {}\n`],
    ['a choice', `@Module({ imports: process.env.A ? [DatabaseModule] : [] })\nexport class AppModule {}\n`],
    ['metadata that is spread', `@Module({ ...common })\nexport class AppModule {}\n`],
    ['metadata that is computed', `@Module(metadata)\nexport class AppModule {}\n`],
    ['a class without the decorator', `export class AppModule {}\nvoid DatabaseModule;\n`],
  ])('%s is not guessed at', (_, text) => {
    const { plan, files } = init(withModule(text));
    expect(files[MODULE]).toContain(text);
    expect(plan.manual).toEqual([
      { where: `in \`imports\` of ${MODULE}`, lines: `${IMPORT}\n\nIdempotencyModule.forRoot(),` },
    ]);
  });

  test('CRLF and double quotes are kept', () => {
    const before = PROJECT[MODULE].replaceAll("'", '"').replaceAll('\n', '\r\n');
    const { files } = init({ ...PROJECT, [MODULE]: before });
    expect(files[MODULE].replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(files[MODULE]).toContain('import { IdempotencyModule } from "nestjs-idempotency";\r\n');
  });

  test('a file without semicolons gets none', () => {
    const strip = (text: string) => text.replaceAll(';', '');
    const files = { ...PROJECT, [MODULE]: strip(PROJECT[MODULE]), 'src/main.ts': strip(PROJECT['src/main.ts']) };
    const { files: after } = init(files, { redis: true });
    expect(after[MODULE] + after['src/main.ts']).not.toContain(';');
  });

  test('is found behind an alias, a barrel and a default export', () => {
    const { plan } = init({
      ...PROJECT,
      'tsconfig.json': '{ "compilerOptions": { "module": "nodenext", "paths": { "@app/*": ["./src/*"] } } }',
      'src/main.ts': PROJECT['src/main.ts'].replace(
        `{ AppModule } from './app.module.js'`,
        `{ Root as AppModule } from '@app/barrel.js'`,
      ),
      'src/barrel.ts': `export { default as Root } from './app.module.js';\n`,
      [MODULE]: PROJECT[MODULE].replace('export class', 'export default class'),
    });
    expect(plan.found).toContain('root module AppModule in src/app.module.ts');
    expect(plan.manual).toEqual([]);
  });

  test('is found by a dynamic module and in CommonJS without suffixes', () => {
    const { plan } = init({
      ...PROJECT,
      'package.json': PROJECT['package.json'].replace('"type":"module",', ''),
      'src/main.ts': PROJECT['src/main.ts'].replace('.js', '').replace('(AppModule)', '(AppModule.register())'),
      [MODULE]: PROJECT[MODULE].replace('.js', ''),
    });
    expect(plan.found).toContain('CommonJS');
    expect(plan.changes.map(({ path }) => path)).toEqual(['src/main.ts', MODULE]);
  });

  test('two applications of two modules are not guessed at', () => {
    const { plan } = init({
      ...PROJECT,
      'src/main.ts': PROJECT['src/main.ts'].replace('await app', 'await NestFactory.create(Other);\n  await app'),
    });
    expect(plan.changes).toEqual([]);
    expect(plan.manual.map(({ where }) => where)).toEqual([
      'in `imports` of the root module',
      'in src/main.ts, after each application is created',
    ]);
  });
});

describe('shutdown hooks', () => {
  const HOOKS = 'app.enableShutdownHooks();';
  const withMain = (from: string, to: string) => ({
    ...PROJECT,
    'src/main.ts': PROJECT['src/main.ts'].replace(from, to),
  });

  test.each([
    ['a type argument', 'NestFactory.create(', 'NestFactory.create<NestExpressApplication>('],
    ['an adapter', '(AppModule)', '(AppModule, new FastifyAdapter())'],
    [
      'a type and a comment',
      'const app = await NestFactory.create(AppModule);',
      'const app: App = await NestFactory.create(AppModule); // here',
    ],
    ['several lines', '(AppModule)', '(AppModule, {\n    bufferLogs: true,\n  })'],
    ['a worker', 'NestFactory.create(', 'NestFactory.createApplicationContext('],
    ['a microservice', 'NestFactory.create(', 'NestFactory.createMicroservice('],
    ['a cast', 'await NestFactory.create(AppModule)', '(await NestFactory.create(AppModule)) as unknown as App'],
    ['a variable of before', 'const app = await', 'let app;\n  app = await'],
  ])('with %s', (_, from, to) => {
    const { files, plan } = init(withMain(from, to));
    expect(plan.manual).toEqual([]);
    expect(files['src/main.ts']).toContain(`\n  ${HOOKS}\n  await app.listen`);
  });

  test('on one line', () => {
    const { files } = init({
      ...PROJECT,
      'src/main.ts': `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
void (async () => { const app = await NestFactory.create(AppModule); await app.listen(1); })();
`,
    });
    expect(files['src/main.ts']).toContain(`create(AppModule); ${HOOKS} await app.listen(1);`);
  });

  test('are not added twice, nor where it is not certain what to call', () => {
    expect(added(init(withMain('await app', `${HOOKS}\n  await app`)), 'src/main.ts')).toEqual([]);
    const { plan } = init(
      withMain('const app = await NestFactory.create(AppModule);', 'await NestFactory.create(AppModule).then(run);'),
    );
    expect(plan.manual.map(({ lines }) => lines)).toEqual([HOOKS]);
  });
});

describe('Redis', () => {
  test('gets a client that reports its errors and is closed', () => {
    const { files, plan } = init(PROJECT, { redis: true });
    expect(plan.manual).toEqual([]);
    expect(plan.install).toBeUndefined();
    expect(files[MODULE]).toBe(`import { Module, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { IdempotencyModule } from 'nestjs-idempotency';
import { DatabaseModule } from './database.module.js';

const redis = new Redis(process.env.REDIS_URL!);
redis.on('error', (error: Error) => Logger.warn(error.message, 'Redis'));

@Module({
  imports: [DatabaseModule, IdempotencyModule.forRoot({ redis })],
})
export class AppModule implements OnApplicationShutdown {
  onApplicationShutdown() {
    redis.disconnect();
  }
}
`);
  });

  test('is to be installed only where it is missing, so that a newer version stays', () => {
    const without = { ...PROJECT, 'package.json': PROJECT['package.json'].replace('"ioredis"', '"other"') };
    expect(init(without, { redis: true }).plan.install).toBe('npm install ioredis@5');
    const newer = {
      ...PROJECT,
      'package.json': PROJECT['package.json'].replace('"ioredis":"^5.0.0"', '"ioredis":"^6.0.0"'),
    };
    expect(init(newer, { redis: true }).plan.install).toBeUndefined();
  });

  test('goes beside what the class has', () => {
    const { files } = init(
      {
        ...PROJECT,
        [MODULE]: PROJECT[MODULE].replace(
          'AppModule {}',
          `AppModule extends Base implements NestModule {\n  private readonly redis = 1;\n\n  configure() {}\n}`,
        ),
      },
      { redis: true },
    );
    expect(files[MODULE]).toContain('class AppModule extends Base implements NestModule, OnApplicationShutdown {');
    expect(files[MODULE]).toContain('forRoot({ redis: idempotencyRedis })');
    expect(files[MODULE]).toContain(
      `  configure() {}\n\n  onApplicationShutdown() {\n    idempotencyRedis.disconnect();\n  }\n}\n`,
    );
  });

  test('comes to a module that is there, once', () => {
    const { files } = init(init(PROJECT).files, { redis: true });
    expect(files[MODULE]).toContain('IdempotencyModule.forRoot({ redis })');
    const options = init(
      {
        ...init(PROJECT).files,
        [MODULE]: init(PROJECT).files[MODULE].replace('forRoot()', `forRoot({ lease: '5s' })`),
      },
      { redis: true },
    );
    expect(options.files[MODULE]).toContain(`forRoot({ lease: '5s', redis })`);
  });

  test('has a client of the application report its errors', () => {
    const files = {
      ...PROJECT,
      [MODULE]: init(PROJECT)
        .files[MODULE].replace('forRoot()', 'forRoot({ redis: client })')
        .replace('\n@Module', '\nconst client = new Redis();\n\n@Module'),
    };
    expect(added(init(files, { redis: true }), MODULE)).toEqual([
      `import { Module, Logger } from '@nestjs/common';`,
      `client.on('error', (error: Error) => Logger.warn(error.message, 'Redis'));`,
    ]);
  });
});
