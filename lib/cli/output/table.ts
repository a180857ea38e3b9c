import { stripVTControlCharacters } from 'node:util';

const GAP = '  ';

/** Columns of text, as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => width(line[column]))));
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell + ' '.repeat(widths[i] - width(cell)))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n');
}

/** Names and values, one pair a line. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(widest)}${GAP}${value}`.trimEnd()).join('\n');
}

function width(text: string): number {
  return stripVTControlCharacters(text).length;
}
