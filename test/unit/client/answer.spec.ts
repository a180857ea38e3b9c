import { isDefinitive } from '../../../lib/client/answer.js';
import { PROBLEMS } from '../../../lib/problems/problem.js';

/** Refused before any execution, so that an operation of this key has not run. */
const NEVER_BEGAN = ['key-missing', 'key-invalid'];

// The client knows the codes by a list of its own, as it imports nothing of the server. One that it lacks would drop the key.
test.each(Object.keys(PROBLEMS))('the client knows what the problem %s says of the operation', (code) => {
  const response = new Response(null, { status: 400 });
  const answer = { response, replayed: false, problem: { code, retryable: false } };
  expect(isDefinitive(answer, false)).toBe(NEVER_BEGAN.includes(code));
  // The first attempt may have run before a release with another `keyFormat`, or by a proxy that lets the header through.
  expect(isDefinitive(answer, true)).toBe(false);
});
