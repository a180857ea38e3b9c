import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../../scripts/workspace.mjs';
import { PAGE, specFile, withShownBy } from '../../promises/page.mjs';
import { patched } from '../../promises/patch.mjs';
import { PROMISES } from '../../promises/table.mjs';

const read = (file: string) => readFileSync(join(root, file), 'utf8');

/** Whether the named specs notice is what `npm run test:promises` finds out, which takes minutes. */
describe('the promises', () => {
  test.each(PROMISES.map((one) => [`${one.section}: ${one.promise}`, one] as const))('%s', (_, { broken, shownBy }) => {
    for (const patch of broken) expect(patched(patch, read(patch.file))).not.toBe(read(patch.file));
    for (const { spec } of shownBy) expect([spec, existsSync(join(root, specFile(spec)))]).toEqual([spec, true]);
  });

  test('have names of their own within a section', () => {
    const names = PROMISES.map(({ section, promise }) => `${section}: ${promise}`);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  test('the page names the specs as the table does: npm run test:promises -- page', () => {
    expect(withShownBy(read(PAGE))).toBe(read(PAGE));
  });

  test('every heading that makes a promise has one', () => {
    const headings = [...read(PAGE).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    const shown = new Set(PROMISES.map(({ section }) => section));
    expect(headings.filter((heading) => !shown.has(heading))).toEqual(['How this is tested']);
  });
});
