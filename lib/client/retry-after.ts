const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/;

/**
 * How long a response asks to be waited for (RFC 9110, section 10.2.3), in milliseconds; `undefined` where it does not
 * say, or not in a form that can be read. A date is taken by the server's own clock, where the response has it: the
 * client's may be wrong.
 */
export function retryAfter(headers: Headers, now: number = Date.now()): number | undefined {
  const value = headers.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(value)) return Number(value) * 1_000;
  const date = httpDate(value);
  return date === undefined ? undefined : Math.max(0, date - (httpDate(headers.get('date') ?? '') ?? now));
}

/** The three forms of RFC 9110, section 5.6.7, all of them in GMT. */
function httpDate(value: string): number | undefined {
  const text = ASCTIME.test(value) ? `${value} GMT` : value;
  const time = text.endsWith(' GMT') ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}
