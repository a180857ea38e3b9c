import type { RecordStatus } from '../../engine/ports/record-store.js';
import { FAILED_TOMBSTONE_CODE, TOMBSTONE_CODE, VALUE_CODE } from '../../engine/outcome.js';
import { hexOf, type Style, type Terminal } from './terminal.js';

const STYLES: Record<RecordStatus, Style> = { processing: 'cyan', done: 'green', failed: 'yellow', held: 'red' };

export function status(terminal: Terminal, one: RecordStatus): string {
  return terminal.style(STYLES[one], one);
}

const UNITS: readonly [number, string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
];

/** Formats a time as its distance: `3h ago`, `in 20m`. */
export function when(instant: Date, now = Date.now()): string {
  const ms = instant.getTime() - now;
  const [unit, name] = UNITS.find(([size]) => Math.abs(ms) >= size) ?? [1_000, 's'];
  const count = Math.floor(Math.abs(ms) / unit);
  return ms < 0 ? `${count}${name} ago` : `in ${count}${name}`;
}

export function instant(one: Date): string {
  return `${one.toISOString()} (${when(one)})`;
}

export function outcome(code: number | null): string {
  switch (code) {
    case null:
      return '';
    case TOMBSTONE_CODE:
      return 'not kept';
    case FAILED_TOMBSTONE_CODE:
      return 'failed, not kept';
    case VALUE_CODE:
      return 'value';
    default:
      return String(code);
  }
}

/** Formats a number of bytes in units of 1024, as databases count. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  const value = count / 1_024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** Returns text, or other bytes as base64. Escapes control characters: a client's body could otherwise command the terminal. */
export function printable(content: Buffer): string {
  const text = asText(content);
  if (text === undefined) return `base64:${content.toString('base64')}`;
  return text.replace(
    // oxlint-disable-next-line no-control-regex
    /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g,
    (character) => `\\x${hexOf(character)}`,
  );
}

/** Returns `undefined` for bytes that are not UTF-8. */
export function asText(content: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return undefined;
  }
}
