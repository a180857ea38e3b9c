const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/**
 * Returns the value of `Retry-After` (RFC 9110, section 10.2.3) in milliseconds, or `undefined` for a missing or malformed header. A date
 * is compared with the response's `Date`, because the client's clock may be wrong.
 */
export function retryAfter(headers: Headers, now: number = Date.now()): number | undefined {
  const value = headers.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(value)) return Number(value) * 1_000;
  const date = httpDate(value);
  return date === undefined ? undefined : Math.max(0, date - (httpDate(headers.get('date') ?? '') ?? now));
}

/** Parses the three forms of RFC 9110, section 5.6.7, all of which are in GMT. */
function httpDate(value: string): number | undefined {
  const text = ASCTIME.test(value) ? `${value} GMT` : value;
  const time = text.endsWith(' GMT') ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}
