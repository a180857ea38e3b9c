import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { specsTouchedBy } from '../../../scripts/changed.mjs';
import { root } from '../../../scripts/workspace.mjs';

const sourceOf = (path: string) => readFileSync(join(root, path), 'utf8');
const given = (changed: string[]) => specsTouchedBy(changed)?.slice(2);

test('a change of the library touches what imports it, and what starts processes of it', () => {
  const paths = given(['lib/engine/engine.ts'])!;
  expect(paths).toEqual(
    expect.arrayContaining([
      'lib/engine/engine.ts',
      'test/support/app-process.ts',
      'test/field/field-process.ts',
      'test/e2e/cli/support.ts',
      'test/e2e/docs/guide.e2e-spec.ts',
      'test/unit/docs/troubleshooting.spec.ts',
    ]),
  );
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('what starts a process of the library is known, or imports what is', () => {
  const known = new Set(given(['lib/index.ts', 'test/orms/main.ts']));
  const importsOf = (path: string) =>
    [...sourceOf(path).matchAll(/from '(\.[^']+)\.js'/g)].map(([, to]) => `${join(dirname(path), to!)}.ts`);
  const starting = ['e2e', 'conformance', 'field', 'unit/client', 'unit/cli']
    .flatMap((folder) =>
      readdirSync(join(root, 'test', folder), { recursive: true, encoding: 'utf8' }).map(
        (path) => `test/${folder}/${path}`,
      ),
    )
    .filter((path) => path.endsWith('.ts') && sourceOf(path).includes(`from 'node:child_process'`));
  expect(starting.length).toBeGreaterThan(3);
  expect(starting.filter((path) => ![path, ...importsOf(path)].some((one) => known.has(one)))).toEqual([]);
});

test.each([
  [['docs/guide.md'], 'test/e2e/docs/guide.e2e-spec.ts'],
  [['sample/checkout/README.md'], 'test/unit/docs/links.spec.ts'],
  [['lib/cli/main.ts'], 'test/e2e/cli/support.ts'],
  [['lib/dashboard/page/index.html'], 'test/e2e/dashboard-page/dashboard-page.e2e-spec.ts'],
  [['test/orms/main.ts'], 'test/e2e/orms/orms.e2e-spec.ts'],
  [['test/clients/ky.js'], 'test/e2e/docs/client-libraries.e2e-spec.ts'],
  [['test/unit/engine/retry.spec.ts'], 'test/unit/engine/retry.spec.ts'],
])('%j touches %s', (changed, spec) => expect(given(changed)).toContain(spec));

test.each([['bench/main.ts'], ['.github/workflows/ci.yml']])('%s touches nothing', (path) =>
  expect(given([path])).toEqual([]),
);

test.each([['package-lock.json'], ['jest.config.mjs'], ['test/support/servers.mjs'], ['a-file-that-is-new']])(
  '%s touches everything',
  (path) => expect(specsTouchedBy([path, 'docs/guide.md'])).toBeUndefined(),
);
