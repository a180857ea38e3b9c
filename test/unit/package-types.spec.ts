import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/workspace.mjs';

interface Manifest {
  exports: Record<string, string | { types: string }>;
  typesVersions: Record<string, Record<string, string[]>>;
}

test('TypeScript finds each entry point, also where it does not read `exports` ("module": "commonjs")', () => {
  const { exports, typesVersions } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  const types = Object.entries(exports).flatMap(([path, entry]) =>
    path === '.' || typeof entry === 'string' ? [] : [[path.slice('./'.length), [entry.types]]],
  );
  expect(typesVersions).toEqual({ '*': Object.fromEntries(types) });
});

// With `nestjs-idempotency/dashboard` in the root module, no test of that module ran in a CommonJS project.
test('only the command line has `import.meta`, which Jest before Node 24.9 cannot compile to CommonJS', () => {
  const lib = join(root, 'lib');
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /^(?!dashboard.page).*\.ts$/.test(file),
  );
  const having = files.filter((file) =>
    /^(?!\s*(\/\/|\*)).*\bimport\.meta\b/m.test(readFileSync(join(lib, file), 'utf8')),
  );
  expect(having).toEqual([join('cli', 'run.ts')]);
});
