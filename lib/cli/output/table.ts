import { stripVTControlCharacters } from 'node:util';

const GAP = '  ';

/** Where less than this is left beside the names, the terminal's own line breaks are easier to read. */
const MIN_WRAPPED_COLUMNS = 24;

/** Formats columns of text, each as wide as its widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => width(line[column]))));
  return lines
    .map((line) =>
      line
        .map((cell, i) => padded(cell, widths[i]))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n');
}

/**
 * Formats names and values, a pair a line.
 *
 * @param columns the width of the terminal: a wider value continues below its own beginning. Default: no limit
 */
export function pairs(entries: readonly (readonly [string, string])[], columns = Infinity): string {
  const widest = Math.max(...entries.map(([name]) => width(name)));
  const room = columns - widest - GAP.length;
  const lineBreak = `\n${' '.repeat(widest + GAP.length)}`;
  const wrapped = (value: string) =>
    room === Infinity || room < MIN_WRAPPED_COLUMNS
      ? value
      : value.match(new RegExp(`\\S.{0,${room - 1}}(?=\\s|$)|\\S+`, 'g'))!.join(lineBreak);
  return entries.map(([name, value]) => `${padded(name, widest)}${GAP}${wrapped(value)}`.trimEnd()).join('\n');
}

function padded(text: string, to: number): string {
  return text + ' '.repeat(to - width(text));
}

function width(text: string): number {
  return stripVTControlCharacters(text).length;
}
