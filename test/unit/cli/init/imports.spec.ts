import ts from 'typescript';
import { added, init, type Initialised, PROJECT } from './project.js';

const MODULE = 'src/app.module.ts';

const CLIENT = 'const redis = new Redis(process.env.REDIS_URL!);';
const LISTENER = `redis.on('error', (error: Error) => Logger.warn(error.message, 'Redis'));`;
const IOREDIS = `import { Redis } from 'ioredis';`;

/** Sets Redis up in a module that begins with the given lines. */
function withRedis(...head: string[]): Initialised {
  const module = `${head.join('\n')}\n${PROJECT[MODULE]}`;
  return init({ ...PROJECT, [MODULE]: module }, { redis: true });
}

/** Names that are declared twice, and types that are used as values. */
function nameErrors({ files }: Initialised): string[] {
  const source = ts.createSourceFile(MODULE, files[MODULE], ts.ScriptTarget.Latest, true);
  const program = ts.createProgram({
    rootNames: [MODULE],
    options: { noResolve: true, noLib: true, types: [], experimentalDecorators: true },
    host: {
      ...ts.createCompilerHost({}),
      getSourceFile: (path) => (path === MODULE ? source : undefined),
      fileExists: (path) => path === MODULE,
    },
  });
  return program
    .getSemanticDiagnostics(source)
    .filter(({ code }) => [1361, 2300, 2395, 2440, 2451, 2693].includes(code))
    .map(({ code, messageText }) => `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
}

test.each([
  ['a default import', `import Redis from 'ioredis';`, [CLIENT], [IOREDIS]],
  ['a default import beside names', `import Redis, { type RedisOptions } from 'ioredis';`, [CLIENT], [IOREDIS]],
  ['a default import by its other syntax', `import { default as Redis } from 'ioredis';`, [CLIENT], [IOREDIS]],
  [
    'another name',
    `import { Redis as Client } from 'ioredis';`,
    ['const redis = new Client(process.env.REDIS_URL!);'],
    [IOREDIS],
  ],
  [
    'a type',
    `import type { Redis } from 'ioredis';`,
    [`import { Redis as IoredisRedis } from 'ioredis';`, 'const redis = new IoredisRedis(process.env.REDIS_URL!);'],
    [],
  ],
  [
    'a type among values',
    `import { type Redis, Cluster } from 'ioredis';`,
    ['const redis = new IoredisRedis(process.env.REDIS_URL!);'],
    [],
  ],
  ['all of it', `import * as Redis from 'ioredis';`, ['const redis = new IoredisRedis(process.env.REDIS_URL!);'], []],
  [
    'a class of its own',
    `class Redis {}\nconst { IoredisRedis } = { IoredisRedis: 1 };`,
    [`import { Redis as IoredisRedis_ } from 'ioredis';`, 'const redis = new IoredisRedis_(process.env.REDIS_URL!);'],
    [],
  ],
  [
    'the Logger of another package',
    `import { Logger } from 'nestjs-pino';`,
    [LISTENER.replace('Logger', 'NestjsLogger'), IOREDIS],
    [LISTENER],
  ],
  [
    'an interface called as the hook is',
    `interface OnApplicationShutdown {}`,
    ['export class AppModule implements NestjsOnApplicationShutdown {'],
    [],
  ],
])('with %s, names are imported once', (_, head, present, absent) => {
  const done = withRedis(...head.split('\n'));
  expect(nameErrors(done)).toEqual([]);
  expect(added(done, MODULE)).toEqual(expect.arrayContaining(present));
  for (const line of absent) expect(added(done, MODULE)).not.toContain(line);
});

test('an IdempotencyModule of the application stays its own', () => {
  const done = init({
    ...PROJECT,
    [MODULE]: `import { IdempotencyModule } from './idempotency.module.js';\n${PROJECT[MODULE]}`,
  });
  expect(nameErrors(done)).toEqual([]);
  expect(done.files[MODULE]).toContain('imports: [DatabaseModule, NestjsIdempotencyModule.forRoot()]');
});

test('a call that is commented out is not there', () => {
  const main = 'src/main.ts';
  const done = init({ ...PROJECT, [main]: `// app.enableShutdownHooks()\n${PROJECT[main]}` });
  expect(added(done, main)).toEqual(['  app.enableShutdownHooks();']);
});
