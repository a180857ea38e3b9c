import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

/**
 * A table as text: the first column to the left, the others to the right.
 *
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  const lines = all.map((row) =>
    row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  '),
  );
  return [lines[0], '-'.repeat(lines[0].length), ...lines.slice(1)].join('\n');
}

/** @param {Record<string, import('./anatomy.mjs').Anatomy>} found */
export function anatomyTable(found) {
  const rows = Object.entries(found).map(([name, { promises, timeouts, immediates, bytes }]) => [
    name,
    ...[promises, timeouts, immediates].map((value) => fixed(value)),
    fixed(bytes, 0),
  ]);
  return table(['', 'promises', 'timeouts', 'immediates', 'bytes'], rows);
}

/** The machine that figures were taken on. */
export function machine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    system: execFileSync('uname', ['-sr'], { encoding: 'utf8' }).trim(),
  };
}

/**
 * @param {number} value
 * @param {number} [digits]
 */
export function fixed(value, digits = 2) {
  return Number.isFinite(value) ? value.toFixed(digits) : '-';
}
