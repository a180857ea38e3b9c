/**
 * What a request makes in the application's process: promises, timers, bytes. These are counts, so that other work on the
 * machine does not move them, as it moves times.
 */
import { answersOnly, run, send } from './keys.mjs';

/**
 * @typedef {import('./app.mjs').App} App
 * @typedef {import('./load.mjs').Load} Load
 * @typedef {import('./load-generator.mjs').Keys} Keys
 *
 * @typedef {object} Anatomy amounts a request
 * @property {number} promises
 * @property {number} timeouts `setTimeout` and `setInterval`
 * @property {number} immediates
 * @property {number} bytes allocated on V8's heap, those that were collected included
 *
 * @typedef {{ callFrame: { functionName: string, url: string, lineNumber: number }, selfSize: number, children: HeapNode[] }} HeapNode
 *
 * @typedef {keyof typeof KINDS} Kind
 */

const REPLAYED = 500;
/** Longer than any run: the first request must not end before the last duplicate is refused. */
const SLOW_BODY = JSON.stringify({ ms: 600_000 });

/** @typedef {(app: App) => Keys} KeysOf the applications of one database must not share keys */

/** Of fresh keys, so that none is sent twice. */
let part = 0;

/** @type {KeysOf} */
const fresh = ({ port }) => ({ kind: 'fresh', prefix: `fresh-${port}-${part++}-` });
/** @type {(app: App) => Extract<Keys, { kind: 'cycle' }>} */
const replayed = ({ port }) => ({ kind: 'cycle', prefix: `replay-${port}-`, count: REPLAYED });
/** @type {KeysOf} */
const running = ({ port }) => ({ kind: 'cycle', prefix: `running-${port}-`, count: 1 });

/**
 * The kinds of requests. `refused` is a 409 for a request that runs in the same process. `bare`: the path of the application
 * without idempotency that answers its client in the same way.
 */
export const KINDS = {
  fresh: { path: '/charges', bare: '/charges', keys: fresh, status: 201 },
  replay: { path: '/charges', bare: '/answered', keys: replayed, status: 201 },
  refused: { path: '/slow', bare: '/refused', keys: running, status: 409, body: SLOW_BODY },
  transactional: { path: '/transactional', bare: '/charges', keys: fresh, status: 201 },
};

/**
 * Makes an application ready for duplicates: what is replayed is stored, and what is refused runs.
 *
 * @param {App} app
 * @param {Load} load
 */
export async function prepareDuplicates(app, load) {
  await run(app, '/charges', replayed(app), load);
  const slow = () => send(app, '/slow', running(app).prefix, SLOW_BODY);
  // One of the two runs for as long as the application does; the refusal of the other one says that it does.
  await Promise.any([slow(), slow()]);
}

/**
 * Counts one kind of request, after a warm-up: code that V8 has not optimized allocates more.
 *
 * @param {App} app
 * @param {Load} load
 * @param {Kind} kind
 * @param {{ bare?: boolean, connections: number, warmUp: number, requests: number }} options
 * @returns {Promise<Anatomy & { heap: HeapNode }>}
 */
export async function anatomyOf(app, load, kind, { bare = false, connections, warmUp, requests }) {
  const { keys, status, ...rest } = KINDS[kind];
  const path = bare ? rest.bare : rest.path;
  const body = 'body' in rest ? rest.body : undefined;
  const check = answersOnly(status);
  const sendAll = async (/** @type {number} */ count, connections = 32) => {
    const job = { port: app.port, path, body, connections, warmUpMs: 0, ms: 0, requests: count, keys: keys(app) };
    check(await load.run(job));
  };
  await sendAll(warmUp);
  await app.ask({ ask: 'sample-heap' });
  await sendAll(requests, connections);
  const { profile } = await app.ask({ ask: 'heap-sampled' });
  await app.ask({ ask: 'count' });
  await sendAll(requests, connections);
  const { PROMISE = 0, Timeout = 0, Immediate = 0 } = await app.ask({ ask: 'counted' });
  return {
    promises: PROMISE / requests,
    timeouts: Timeout / requests,
    immediates: Immediate / requests,
    bytes: bytesOf(profile.head) / requests,
    heap: profile.head,
  };
}

/**
 * @param {HeapNode} node
 * @returns {number}
 */
function bytesOf({ selfSize, children }) {
  return children.reduce((sum, child) => sum + bytesOf(child), selfSize);
}
