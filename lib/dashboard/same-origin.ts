import type { IncomingHttpHeaders } from 'node:http';
import { REQUEST_HEADER } from './contract.js';
import { DashboardError } from './dashboard-error.js';

/**
 * Refuses what another site makes a browser send: with an operator's cookies, it would read or settle records.
 *
 * Browsers say in `Sec-Fetch-Site` (W3C Fetch Metadata) where a request comes from, and pages cannot set it. Over plain HTTP
 * they leave it out; there, `Origin` has to name the host that was asked. Programs send neither, and have no cookies of others.
 *
 * @param mayNavigate whether following a link from another site is fine: it shows the page, and its site sees nothing of it
 * @throws DashboardError `cross-site`
 */
export function assertSameOrigin(headers: IncomingHttpHeaders, { mayNavigate = false } = {}): void {
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, origin } = headers;
  if (mayNavigate && mode === 'navigate') return;
  if (site !== undefined) {
    // `none`: typed into the address bar.
    if (site === 'same-origin' || site === 'none') return;
  } else if (origin === undefined) {
    return;
  } else {
    // Over HTTP/2, the authority may take the place of the header.
    const asked = headers.host ?? headers[':authority'];
    const host = hostOf(origin);
    if (host !== undefined && host === asked) return;
  }
  throw new DashboardError('cross-site', 'The request comes from another site');
}

/**
 * As {@link assertSameOrigin}, of what changes something. The header and the media type cannot be sent across origins without a
 * preflight that the application would have to allow.
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
