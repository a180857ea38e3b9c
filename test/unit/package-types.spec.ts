import { readFileSync } from 'node:fs';
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
