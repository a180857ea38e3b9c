import ms from 'ms';

/** Milliseconds, or a number with a unit: `'250ms'`, `'30s'`, `'10m'`, `'24h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

/** Limited in length, because `ms` throws for a text of a hundred characters. */
const TEXT = /^\d{1,15}(\.\d{1,15})?(ms|s|m|h|d)$/;

/** Returns milliseconds, or `undefined` for anything but a duration above zero. */
export function toMilliseconds(duration: unknown): number | undefined {
  const value = typeof duration === 'string' && TEXT.test(duration) ? ms(duration as ms.StringValue) : duration;
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined;
}
