const EUROS = new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' });

/** @param {number} cents */
export const money = (cents) => EUROS.format(cents / 100);

/** The first characters of an id, by which it is known on this page. */
export const short = (id) => id.slice(0, 8);

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** @param {number} ms since 1970 */
export function time(ms) {
  const at = new Date(ms);
  const two = (n) => String(n).padStart(2, '0');
  const milliseconds = String(at.getMilliseconds()).padStart(3, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${milliseconds}`;
}

/** @param {number} ms */
export function duration(ms) {
  const seconds = ms / 1_000;
  if (seconds < 10) return `${Math.max(seconds, 0).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
