import assert from 'node:assert/strict';
import { valueOf } from '../../conformance/support/raw-http.js';
import type { Exchange } from '../harness.js';

/** A replay counts as a request, and its headers say what is left at present. */
export const rateLimited: Exchange = {
  name: 'create',
  request: { path: '/cats' },
  status: 201,
  differs: { 'x-ratelimit-remaining:': 'every request counts', 'x-ratelimit-reset:': 'seconds from now' },
  check: (_client, _request, answers) => {
    const [first, retried] = [answers.first, answers.retried].map(({ head }) =>
      Number(valueOf(head, 'x-ratelimit-remaining')),
    );
    assert.equal(retried, first - 1);
  },
};
