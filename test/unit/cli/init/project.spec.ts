import ts from 'typescript';
import { planInit } from '../../../../lib/cli/init/plan-init.js';
import { unifiedDiff } from '../../../../lib/cli/init/unified-diff.js';
import { type Files, init, MemoryFiles, PROJECT } from './project.js';

const without = (path: string): Files => Object.fromEntries(Object.entries(PROJECT).filter(([one]) => one !== path));

describe('what is no project for it is said to be none', () => {
  test.each<[string, Files, string]>([
    [
      'no Nest',
      { 'package.json': '{}' },
      'This is not a Nest project: package.json has no @nestjs/core, and there is no nest-cli.json',
    ],
    [
      'an old Nest',
      { ...PROJECT, 'package.json': '{ "dependencies": { "@nestjs/core": "^10.0.0" } }' },
      'This project has Nest 10; nestjs-idempotency works with Nest 11 and 12',
    ],
    [
      'no entry file',
      without('src/main.ts'),
      'There is no src/main.ts: `sourceRoot` and `entryFile` of nest-cli.json say what starts the application',
    ],
    ['a broken package.json', { 'package.json': '{' }, 'package.json cannot be read: '],
    [
      'a syntax error',
      { ...PROJECT, 'src/app.module.ts': '@Module({\n  imports: [\nexport class AppModule {}\n' },
      'src/app.module.ts:3 has a syntax error: ',
    ],
  ])('%s', (_, files, message) => {
    expect(() => init(files)).toThrow(message);
  });
});

describe('a repository of several projects', () => {
  const under = (folder: string) =>
    Object.fromEntries(
      Object.entries(PROJECT)
        .filter(([path]) => path.startsWith('src/'))
        .map(([path, text]) => [`${folder}/${path}`, text]),
    );
  const monorepo = {
    ...PROJECT,
    ...under('apps/shop'),
    ...under('apps/admin'),
    'nest-cli.json': JSON.stringify({
      sourceRoot: 'apps/shop/src',
      monorepo: true,
      projects: {
        shop: { type: 'application', root: 'apps/shop', entryFile: 'main', sourceRoot: 'apps/shop/src' },
        admin: { type: 'application', root: 'apps/admin', entryFile: 'main', sourceRoot: 'apps/admin/src' },
        common: { type: 'library', root: 'libs/common', entryFile: 'index', sourceRoot: 'libs/common/src' },
      },
    }),
  };

  test('is asked which', () => {
    expect(() => init(monorepo)).toThrow('Which project? Give --project with one of shop, admin');
    expect(() => init(monorepo, { project: 'common' })).toThrow(
      'There is no project "common" in nest-cli.json; there are shop, admin',
    );
  });

  test.each([{ project: 'admin' }, { sourceRoot: 'apps/admin/src' }])('%j', (selection) => {
    expect(init(monorepo, selection).plan.changes.map(({ path }) => path)).toEqual([
      'apps/admin/src/main.ts',
      'apps/admin/src/app.module.ts',
    ]);
  });

  test('has TypeORM in a library', () => {
    const { plan } = init(
      {
        ...monorepo,
        'tsconfig.json':
          '{ "compilerOptions": { "module": "nodenext", "paths": { "@lib/common": ["./libs/common/src/index.ts"] } } }',
        'apps/shop/src/app.module.ts': PROJECT['src/app.module.ts'].replace('./database.module.js', '@lib/common'),
        'libs/common/src/index.ts': `export * from './database.module.js';\n`,
        'libs/common/src/database.module.ts': PROJECT['src/database.module.ts'],
      },
      { project: 'shop' },
    );
    expect(plan.found).toContain('TypeOrmModule.forRoot() in libs/common/src/database.module.ts');
  });
});

describe('Jest', () => {
  const PATTERN = '"transformIgnorePatterns": ["/node_modules/(?!.pnpm/|nestjs-idempotency/)"]';
  const manifest = (more: object) =>
    JSON.stringify(
      { ...(JSON.parse(PROJECT['package.json']) as object), devDependencies: { jest: '30' }, ...more },
      undefined,
      2,
    );
  const transform = { '^.+\\.(t|j)s$': 'ts-jest' };

  test('compiles the package, where it cannot require an ES module', () => {
    const { files, plan } = init({
      ...PROJECT,
      'package.json': manifest({ scripts: { e2e: 'jest --config ./test/jest-e2e.json' }, jest: { transform } }),
      'test/jest-e2e.json': JSON.stringify({ transform }),
    });
    expect(plan.manual).toEqual([]);
    expect(files['package.json']).toContain(`\n    },\n    ${PATTERN}\n  }\n}`);
    expect(files['test/jest-e2e.json']).toBe(`{"transform":${JSON.stringify(transform)}, ${PATTERN}}`);
  });

  test.each([
    ['jest.config.js', `module.exports = {\n  transform: { '^.+\\\\.(t|j)s$': 'ts-jest' },\n};\n`],
    [
      'jest.config.ts',
      `const config: Config = {\n  transform: { '^.+\\\\.[jt]s$': '@swc/jest' },\n};\nexport default config;\n`,
    ],
    ['jest.config.mjs', `export default {\n  transform: { '.*': '@swc/jest' },\n} satisfies Config;\n`],
  ])('%s', (path, text) => {
    const { files, plan } = init({ ...PROJECT, 'package.json': manifest({}), [path]: text });
    expect(plan.manual).toEqual([]);
    expect(files[path]).toContain(`\n  transformIgnorePatterns: ['/node_modules/(?!.pnpm/|nestjs-idempotency/)'],\n}`);
  });

  test.each<[string, object]>([
    ['patterns of its own', { transform, transformIgnorePatterns: ['node_modules/(?!uuid)'] }],
    ['a transformer of TypeScript alone', { transform: { '^.+\\.ts$': 'ts-jest' } }],
    ['a preset', { preset: 'ts-jest' }],
    ['projects', { transform, projects: ['a'] }],
  ])('%s: not guessed at', (_, jest) => {
    const { plan } = init({ ...PROJECT, 'package.json': manifest({ jest }) });
    expect(plan.changes.map(({ path }) => path)).not.toContain('package.json');
    expect(plan.manual).toEqual([
      { where: expect.stringContaining('in package.json: Jest has to compile'), lines: `${PATTERN},` },
    ]);
  });

  test('with ES modules of its own needs nothing', () => {
    const scripts = { test: 'node --experimental-vm-modules node_modules/jest/bin/jest.js' };
    expect(init({ ...PROJECT, 'package.json': manifest({ scripts, jest: {} }) }).plan.manual).toEqual([]);
  });
});

test('settings that TypeScript does not find the package with are left to do by hand', () => {
  const old = '{ "compilerOptions": { "module": "commonjs" } }';
  expect(init({ ...PROJECT, 'tsconfig.json': old }).plan.manual).toEqual([
    { where: expect.stringContaining('tsconfig.json'), lines: '"module": "nodenext",\n"moduleResolution": "nodenext"' },
  ]);
  expect(init(PROJECT).plan.manual).toEqual([]);
});

// `tsc` then refuses to import the package (TS1479).
test.each([
  ['nodenext', '5.7', 1],
  ['nodenext', '5.8', 0],
  ['node18', '5.9', 1],
])('a CommonJS project with "module": "%s" and TypeScript %s', (module, versionMajorMinor, steps) => {
  const files = {
    ...PROJECT,
    'package.json': PROJECT['package.json'].replace('"type":"module",', ''),
    'tsconfig.json': JSON.stringify({ compilerOptions: { module } }),
  };
  const old = { ...ts, versionMajorMinor } as typeof ts;
  expect(planInit(old, new MemoryFiles(files), { redis: false }).manual).toHaveLength(steps);
});

describe('a unified diff', () => {
  const lines = (count: number) => Array.from({ length: count }, (_, at) => `line ${at}`);

  test('has hunks with three lines of context', () => {
    const before = lines(30);
    const after = before.with(2, 'second').toSpliced(20, 0, 'new');
    expect(unifiedDiff('a.ts', before.join('\n'), after.join('\n'))).toBe(
      [
        '--- a/a.ts\n+++ b/a.ts',
        '@@ -1,6 +1,6 @@\n line 0\n line 1\n-line 2\n+second\n line 3\n line 4\n line 5',
        '@@ -18,6 +18,7 @@\n line 17\n line 18\n line 19\n+new\n line 20\n line 21\n line 22',
      ].join('\n'),
    );
  });

  test('of a file that was empty', () => {
    expect(unifiedDiff('a', '', 'x\n')).toBe('--- a/a\n+++ b/a\n@@ -0,0 +1,1 @@\n+x');
  });
});
