import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../scripts/workspace.mjs';
import { MODULE_OPTIONS, OPERATION_OPTIONS } from '../../../lib/options/resolve-options.js';

/** As the page marks those that `@Idempotent()` takes too. */
const OVERRIDABLE = '*';

const rows = [...section('Options').matchAll(/^\| `(\w+)`(\*?) \|/gm)];

test('the tables of options in the reference have every option, and no other', () => {
  const all = new Set<string>([...MODULE_OPTIONS, ...OPERATION_OPTIONS, 'isGlobal']);
  expect(rows.map(([, name]) => name).sort()).toEqual([...all].sort());
});

test('those that @Idempotent() takes are marked', () => {
  const marked = rows.filter(([, , mark]) => mark === OVERRIDABLE).map(([, name]) => name);
  expect(marked.sort()).toEqual([...OPERATION_OPTIONS].sort());
});

function section(heading: string): string {
  const [, text] = readFileSync(join(root, 'docs/reference.md'), 'utf8').split(`\n## ${heading}\n`);
  return text.split('\n## ')[0];
}
