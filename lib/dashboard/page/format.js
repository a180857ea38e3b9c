import { h } from './dom.js';

const NUMBER = new Intl.NumberFormat('en');
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'long' });
const SECOND = 1_000;
const UNITS = [
  ['day', 24 * 3_600 * SECOND],
  ['hour', 3_600 * SECOND],
  ['minute', 60 * SECOND],
  ['second', SECOND],
];

/** How far the clock of the application is ahead of the browser's, in milliseconds. */
let aheadMs = 0;

/** Ages follow the clock of the application, because an operator's may be wrong. @param {string} iso its present time */
export function setClock(iso) {
  aheadMs = Date.parse(iso) - Date.now();
}

export const now = () => Date.now() + aheadMs;

export const number = (value) => NUMBER.format(value);

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** The first characters of an id: what fits in a row. The whole id is in the record's view. */
export const shortId = (id) => id.slice(0, 8);

/** @param {number} ms */
export function relative(ms) {
  const difference = ms - now();
  for (const [unit, size] of UNITS) {
    if (Math.abs(difference) >= size) return RELATIVE.format(Math.round(difference / size), unit);
  }
  return 'just now';
}

const two = (value) => String(value).padStart(2, '0');

const dayOf = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

/** Formats a local time for an axis: `14:02`. @param {number} ms */
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Formats a local time: `2026-11-29 02:14:07` sorts as text, and the month cannot be mistaken for the day. */
export function absolute(ms, milliseconds = false) {
  const at = new Date(ms);
  const rest = milliseconds ? `.${String(at.getMilliseconds()).padStart(3, '0')}` : '';
  return `${dayOf(at)} ${clock(ms)}:${two(at.getSeconds())}${rest}`;
}

/** @param {number} ms a length of time */
export function length(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1_024) return plural(bytes, 'byte');
  const kilo = bytes / 1_024;
  return kilo < 1_024 ? `${kilo.toFixed(1)} KiB` : `${(kilo / 1_024).toFixed(1)} MiB`;
}

/**
 * A moment as `<time>`: relative text that {@link refreshTimes} keeps right, the absolute time in its title.
 *
 * @param {string} iso
 */
export function relativeTime(iso) {
  const ms = Date.parse(iso);
  return h('time', { datetime: iso, title: absolute(ms), data: { relative: '' } }, relative(ms));
}

/** @param {string} iso */
export function absoluteTime(iso, milliseconds = false) {
  return h('time', { datetime: iso }, absolute(Date.parse(iso), milliseconds));
}

/** Updates the relative times on the page. */
export function refreshTimes() {
  for (const element of document.querySelectorAll('time[data-relative]')) {
    element.textContent = relative(Date.parse(element.dateTime));
  }
}
