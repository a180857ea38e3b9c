import ts from 'typescript';
import type { ProjectFiles } from '../../../../lib/cli/init/files.js';
import type { InitOptions, Plan } from '../../../../lib/cli/init/plan.js';
import { planInit } from '../../../../lib/cli/init/plan-init.js';
import type { Selection } from '../../../../lib/cli/init/project.js';

export type Files = Readonly<Record<string, string>>;

/** A project that has everything but this library, as `nest new` writes it, with TypeORM in its root module. */
export const PROJECT: Files = {
  'package.json': JSON.stringify({
    type: 'module',
    dependencies: {
      '@nestjs/core': '^12.0.1',
      '@nestjs/platform-express': '^12.0.1',
      '@nestjs/typeorm': '^12.0.0',
      'nestjs-idempotency': '^0.1.0',
      pg: '^8.0.0',
      'better-sqlite3': '^12.0.0',
      typeorm: '^1.0.0',
      ioredis: '^5.0.0',
    },
    devDependencies: { vitest: '^4.1.2' },
  }),
  'nest-cli.json': '{ "sourceRoot": "src" }',
  'tsconfig.json': '{ "compilerOptions": { "module": "nodenext", "moduleResolution": "nodenext" } }',
  'src/main.ts': `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';

async function bootstrap() {
  const app = await NestFactory.create(AppModule);
  await app.listen(process.env.PORT ?? 3000);
}
await bootstrap();
`,
  'src/app.module.ts': `import { Module } from '@nestjs/common';
import { DatabaseModule } from './database.module.js';

@Module({
  imports: [DatabaseModule],
})
export class AppModule {}
`,
  'src/database.module.ts': `import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';

@Module({ imports: [TypeOrmModule.forRoot({ type: 'better-sqlite3', database: 'a.sqlite', autoLoadEntities: true, synchronize: true })] })
export class DatabaseModule {}
`,
};

export class MemoryFiles implements ProjectFiles {
  constructor(private readonly files: Files) {}

  read(path: string): string | undefined {
    return this.files[path];
  }

  list(folder: string): string[] {
    const prefix = folder === '' || folder === '.' ? '' : `${folder}/`;
    return Object.keys(this.files)
      .filter((path) => path.startsWith(prefix))
      .map((path) => path.slice(prefix.length))
      .filter((name) => !name.includes('/'));
  }
}

export interface Initialised {
  readonly plan: Plan;
  readonly files: Files;
}

/** Applies what is planned, having checked that it keeps every byte and that a second run would change nothing. */
export function init(files: Files, options: Partial<InitOptions> & Selection = {}): Initialised {
  const run = (of: Files) => planInit(ts, new MemoryFiles(of), { redis: false, ...options });
  const plan = run(files);
  const after = { ...files, ...Object.fromEntries(plan.changes.map((change) => [change.path, change.after])) };
  for (const change of plan.changes) expect(isKept(change.before, change.after)).toBe(true);
  expect(run(after).changes).toEqual([]);
  return { plan, files: after };
}

function isKept(before: string, after: string): boolean {
  let at = 0;
  for (const character of after) if (character === before[at]) at++;
  return at === before.length;
}

/** The lines that a file has more than before, with their indentation. */
export function added({ plan }: Initialised, path: string): string[] {
  const change = plan.changes.find((one) => one.path === path);
  const before = new Set(change?.before.split('\n'));
  return change?.after.split('\n').filter((line) => !before.has(line)) ?? [];
}
