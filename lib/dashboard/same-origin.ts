import type { IncomingHttpHeaders } from 'node:http';
import { REQUEST_HEADER } from './contract.js';
import { DashboardError } from './dashboard-error.js';

/**
 * Refuses requests that another site makes a browser send: with the operator's cookies, they would read or settle records.
 *
 * Browsers say in `Sec-Fetch-Site` (W3C Fetch Metadata) where a request comes from, and pages cannot set it. Over plain HTTP
 * they omit it, and `Origin` has to name the requested host. Programs send neither, and have no operator's cookies.
 *
 * @param mayNavigate whether links on other sites may lead here: the operator sees the page, and the other site does not
 * @throws DashboardError `cross-site`
 */
export function assertSameOrigin(headers: IncomingHttpHeaders, { mayNavigate = false } = {}): void {
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, origin } = headers;
  if (mayNavigate && mode === 'navigate') return;
  if (site !== undefined) {
    // `none`: the operator typed the address.
    if (site === 'same-origin' || site === 'none') return;
  } else if (origin === undefined) {
    return;
  } else {
    // HTTP/2 may have `:authority` instead.
    const asked = headers.host ?? headers[':authority'];
    const host = hostOf(origin);
    if (host !== undefined && host === asked) return;
  }
  throw new DashboardError('cross-site', 'The request comes from another site');
}

/**
 * As {@link assertSameOrigin}, for requests that change something. Other origins cannot send the header or the media type without a
 * preflight, which the application would have to allow.
 *
 * @throws DashboardError `cross-site`, `not-json`
 */
export function assertDeliberate(headers: IncomingHttpHeaders): void {
  assertSameOrigin(headers);
  if (headers[REQUEST_HEADER] !== '1') {
    throw new DashboardError('cross-site', 'The request has no header X-Idempotency-Dashboard: 1');
  }
  const [type] = (headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/json') {
    throw new DashboardError('not-json', 'The request has to be application/json');
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
