/** The "Shown by" lines of docs/guarantees.md, as the table of promises says. */
import { PROMISES } from './table.mjs';

export const PAGE = 'docs/guarantees.md';

const WIDTH = 120;

/** @param {string} spec as the page names it */
export function specFile(spec) {
  if (spec.endsWith('.ts')) return spec;
  return spec.startsWith('test/unit/') ? `${spec}.spec.ts` : `${spec}.e2e-spec.ts`;
}

/** @param {string} section @returns {string} the line of a section, wrapped */
function shownByLine(section) {
  /** @type {Map<string, string[]>} */
  const specs = new Map();
  for (const one of PROMISES.filter((promised) => promised.section === section)) {
    for (const { spec } of one.shownBy) specs.set(spec, [...(specs.get(spec) ?? []), one.promise]);
  }
  const parts = [...specs].map(([spec, promises]) => `\`${spec}\` (${promises.join('; ')})`);
  return wrapped(`- Shown by: ${parts.join(', ')}.`);
}

/**
 * @param {string} page
 * @returns {string} the page, with the lines that the table says
 */
export function withShownBy(page) {
  const sections = new Set(PROMISES.map(({ section }) => section));
  const [intro, ...rest] = page.split(/^(?=## )/m);
  const headings = rest.map((text) => text.slice(3, text.indexOf('\n')));
  for (const section of sections) {
    if (!headings.includes(section)) throw new Error(`${PAGE} has no section "${section}"`);
  }
  const written = rest.map((text, i) => {
    const found = text.match(/^- Shown by: .*\n(?: {2}.*\n)*/m);
    if (!sections.has(headings[i])) {
      if (found) throw new Error(`${PAGE} names specs under "${headings[i]}" of which the table knows nothing`);
      return text;
    }
    if (!found) throw new Error(`${PAGE} has no line that begins with "- Shown by: " under "${headings[i]}"`);
    return text.replace(found[0], () => `${shownByLine(headings[i])}\n`);
  });
  return intro + written.join('');
}

/** @param {string} text @returns {string} lines of at most so many characters, indented as those of a list */
function wrapped(text) {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1];
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] += ` ${word}`;
    else lines.push(`  ${word}`);
  }
  return lines.join('\n');
}
