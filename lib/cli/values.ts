import { type Duration, toMilliseconds } from '../options/duration.js';
import { usageError } from './exit-codes.js';

export function wholeNumber(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number > 0) return number;
  throw usageError(`--${option} must be a whole number above zero`);
}

export function durationOf(option: string, text: string | undefined): Duration | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : text;
  if (toMilliseconds(value) !== undefined) return value as Duration;
  throw usageError(`--${option} must be milliseconds, or text such as 30s (ms, s, m, h, d)`);
}
