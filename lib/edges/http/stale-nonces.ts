import type { ServerResponse } from 'node:http';
import type { StoredOutcome } from '../../engine/outcome.js';
import { decodedFor } from '../content/content-coding.js';
import { EndpointWarnings } from '../shared/endpoint-warnings.js';

const POLICIES = ['content-security-policy', 'content-security-policy-report-only'];

/** `'nonce-...'` in a policy. */
const ALLOWED = /'nonce-([^']+)'/g;

/** `nonce="..."` in a page. */
const USED = /\snonce\s*=\s*["']?([\w+/=-]+)/gi;

/**
 * Warns, once for each endpoint, when a replayed page has the nonce of the first exchange, and the Content-Security-Policy the one of
 * this exchange: browsers then block the page's scripts.
 */
export class StaleNonces {
  private readonly warnings = new EndpointWarnings();

  note(endpoint: string, response: ServerResponse, { body }: StoredOutcome): void {
    if (!body || this.warnings.has(endpoint)) return;
    const header = (name: string) => String(response.getHeader(name) ?? '');
    if (!header('content-type').includes('html')) return;
    const allowed = POLICIES.flatMap((name) => matches(ALLOWED, header(name)));
    if (allowed.length === 0) return;
    const page = decodedFor('', header('content-encoding'), body) ?? body;
    if (matches(USED, page.toString()).every((nonce) => allowed.includes(nonce))) return;
    this.warnings.warn(
      endpoint,
      'the Content-Security-Policy of a replay allows another nonce than its stored page uses, so browsers block its scripts. Set ' +
        'that header in the handler, allow the scripts by hash, or redirect to a GET',
    );
  }
}

function matches(pattern: RegExp, text: string): string[] {
  return [...text.matchAll(pattern)].map(([, value]) => value);
}
