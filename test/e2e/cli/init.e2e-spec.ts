import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { jest } from '@jest/globals';
import { freePort } from '../../support/free-port.mjs';
import { until } from '../../support/until.js';
import { cli, installWithout } from './support.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const execute = promisify(execFile);

// Compilers and applications run as processes of their own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

interface Template {
  readonly manifest: object;
  readonly compilerOptions: object;
  /** What relative imports end with. */
  readonly suffix: string;
  readonly more?: Readonly<Record<string, string>>;
}

const COMPILER_OPTIONS = {
  module: 'nodenext',
  moduleResolution: 'nodenext',
  resolvePackageJsonExports: true,
  esModuleInterop: true,
  isolatedModules: true,
  emitDecoratorMetadata: true,
  experimentalDecorators: true,
  target: 'ES2023',
  rootDir: './src',
  outDir: './dist',
  skipLibCheck: true,
  types: ['node'],
};
const TRANSFORM = { '^.+\\.(t|j)s$': 'ts-jest' };

/** What `nest new` of Nest 12 and 11 writes, and an application would be built from: both run on the Nest that is installed here. */
const NEST_12: Template = {
  manifest: {
    name: 'app12',
    private: true,
    type: 'module',
    dependencies: { '@nestjs/core': '^12.0.1', '@nestjs/platform-express': '^12.0.1' },
    devDependencies: { vitest: '^4.1.2' },
  },
  compilerOptions: { ...COMPILER_OPTIONS, strict: true, strictPropertyInitialization: false },
  suffix: '.js',
};
const NEST_11: Template = {
  manifest: {
    name: 'app11',
    private: true,
    scripts: { 'test:e2e': 'jest --config ./test/jest-e2e.json' },
    dependencies: { '@nestjs/core': '^11.0.1', '@nestjs/platform-express': '^11.0.1' },
    devDependencies: { jest: '^30.0.0' },
    jest: { rootDir: 'src', transform: TRANSFORM },
  },
  compilerOptions: { ...COMPILER_OPTIONS, strictNullChecks: true, noImplicitAny: false },
  suffix: '',
  more: { 'test/jest-e2e.json': JSON.stringify({ rootDir: '.', transform: TRANSFORM }, undefined, 2) },
};

async function scaffold({ manifest, compilerOptions, suffix, more }: Template): Promise<string> {
  const folder = await mkdtemp(join(process.env.TEST_FOLDER!, 'init-'));
  const files = {
    'package.json': JSON.stringify(manifest, undefined, 2),
    'nest-cli.json': JSON.stringify({ collection: '@nestjs/schematics', sourceRoot: 'src' }),
    'tsconfig.json': JSON.stringify({ compilerOptions, include: ['src'] }),
    'src/main.ts': `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module${suffix}';

async function bootstrap() {
  const app = await NestFactory.create(AppModule);
  await app.listen(process.env.PORT ?? 3000);
}
void bootstrap();
`,
    'src/app.module.ts': `import { Module } from '@nestjs/common';
import { PaymentsController } from './payments.controller${suffix}';

@Module({
  imports: [],
  controllers: [PaymentsController],
})
export class AppModule {}
`,
    'src/payments.controller.ts': `import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { Idempotent } from 'nestjs-idempotency';

@Controller('payments')
export class PaymentsController {
  @Idempotent()
  @Post()
  pay(@Body() { amount }: { amount: number }) {
    return { id: randomUUID(), amount };
  }
}
`,
    ...more,
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Compiles the application, starts it, and pays twice with one key. */
async function paysOnce(folder: string): Promise<void> {
  await execute(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.'], { cwd: folder });
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/payments`;
  const { PATH } = process.env;
  const app = spawn(process.execPath, ['dist/main.js'], { cwd: folder, env: { PATH, PORT: String(port) } });
  const ended = once(app, 'exit');
  let output = '';
  for (const stream of [app.stdout, app.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  try {
    const answers = () => fetch(url).then(Boolean, () => false);
    await until(async () => app.exitCode !== null || (await answers()), 60_000);
    if (app.exitCode !== null) throw new Error(output);
    const pay = () =>
      fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'k1' },
        body: '{"amount":5}',
      });
    const first = await pay();
    const second = await pay();
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers.get('Idempotent-Replayed')).toBe('true');
    expect(await second.text()).toBe(await first.text());
  } finally {
    app.kill('SIGTERM');
    await ended;
  }
}

const read = (folder: string, path: string) => readFile(join(folder, path), 'utf8');

test('init sets a CommonJS application of Nest 11 up, having shown what it would do', async () => {
  const cwd = await scaffold(NEST_11);
  const missing = await cli(['init'], { cwd });
  expect(missing).toMatchObject({ code: 1, stdout: '' });
  expect(missing.stderr).toContain('Give --database with one of sqlite, postgres, mysql, mariadb');

  expect(await cli(['init', '--database', 'toString'], { cwd })).toMatchObject({ code: 2 });

  const before = await read(cwd, 'src/app.module.ts');
  const shown = await cli(['init', '--database', 'sqlite'], { cwd });
  expect(shown.code).toBe(1);
  expect(shown.stdout).toContain('+    IdempotencyModule.forRoot(),\n');
  expect(shown.stderr).toContain('Nothing was changed: give --yes to apply this');
  for (const [flag, code] of [
    ['--dry-run', 0],
    ['--check', 1],
  ] as const) {
    expect(await cli(['init', '--database', 'sqlite', flag, '--yes'], { cwd })).toMatchObject({
      code,
      stdout: shown.stdout,
    });
  }
  expect(await read(cwd, 'src/app.module.ts')).toBe(before);

  const applied = await cli(['init', '--database', 'sqlite', '--yes'], { cwd });
  expect(applied).toMatchObject({ code: 0, stdout: shown.stdout });
  expect(applied.stderr).toContain('Changed: src/main.ts, src/app.module.ts, package.json, test/jest-e2e.json');
  const again = await cli(['init', '--check'], { cwd });
  expect(again).toMatchObject({ code: 0, stdout: '' });
  const packages = ['nestjs-idempotency', '@nestjs/typeorm', 'typeorm', 'better-sqlite3'];
  expect(again.stderr).toMatch(/\nTo install: npm install nestjs-idempotency .*\n$/);
  const manifest = JSON.parse(await read(cwd, 'package.json')) as { dependencies: Record<string, string> };
  for (const name of packages) manifest.dependencies[name] = '*';
  await writeFile(join(cwd, 'package.json'), JSON.stringify(manifest));
  const complete = await cli(['init', '--check'], { cwd });
  expect(complete).toMatchObject({ code: 0, stderr: expect.stringMatching(/\nNothing to do\n$/) as string });
  await paysOnce(cwd);
});

test('nest add does the same in an application of Nest 12', async () => {
  const cwd = await scaffold(NEST_12);
  const planned = await cli(['init', '--database', 'sqlite', '--json'], { cwd });
  expect(planned.code).toBe(1);
  const { changes, applied } = JSON.parse(planned.stdout) as { changes: string[]; applied: boolean };
  expect({ changes, applied }).toEqual({ changes: ['src/main.ts', 'src/app.module.ts'], applied: false });

  // What the Nest CLI runs once it has installed the package.
  const schematics = join(ROOT, 'node_modules/@angular-devkit/schematics-cli/bin/schematics.js');
  const args = ['nestjs-idempotency:nest-add', '--source-root=src', '--database=sqlite'];
  const { stdout } = await execute(process.execPath, [schematics, ...args], { cwd });
  for (const path of changes) expect(stdout).toMatch(new RegExp(`UPDATE\\S* ${path} `));
  expect((await cli(['init', '--check', '--json'], { cwd })).code).toBe(0);
  await paysOnce(cwd);
});

test('without TypeORM, the command says what to install', async () => {
  const folder = await installWithout(/^typeorm$/);
  const { code, stderr } = await cli(['init'], { folder });
  expect(code).toBe(3);
  expect(stderr).toMatch(
    /^nestjs-idempotency needs typeorm, which is not installed: npm install @nestjs\/typeorm typeorm\n$/,
  );
});
