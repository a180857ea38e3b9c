/**
 * What clients that take long hold of a service's memory: the scenarios of `npm run bench:memory`, and, with fewer clients, of
 * `test/cost`. Each compares with the bare handler under the same clients, and has a bound.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Connections that are opened at once. */
const AT_ONCE = 50;

/** How long what follows the end of requests may take, in milliseconds. */
const END_WITHIN_MS = 30_000;

/** How long something is waited for, in milliseconds. */
const PATIENCE_MS = 120_000;

/** @typedef {import('./app.mjs').App} App of `bench/apps/memory.ts`, with `--expose-gc` */

/**
 * @typedef {object} Measured
 * @property {number} clients
 * @property {number} each bytes that a client holds, beyond what it holds of the bare handler
 * @property {number} bare bytes that a client holds of the bare handler
 * @property {number} left bytes that a client leaves behind
 * @property {Record<string, number>} kept what is left of its requests once they have ended, by name
 */

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {number} bound bytes that a client may hold beyond the bare handler, at most
 * @property {boolean} [isAlike] whether it is the same on both platforms, as node's own response is
 * @property {(app: App, clients: number) => Promise<Measured>} run those that write forever write as many times 256 KiB
 */

/** What a client may leave behind, in bytes: growth of tables and of the heap itself, which the next clients use again. */
const MOST_LEFT = 4 * KIB;

/** What a response may hold before it passes: the default of `response.maxBytes`. */
const MOST_HELD = MIB;

/** @type {readonly Scenario[]} */
export const SCENARIOS = [
  {
    name: 'has sent half of a JSON body of 64 KiB',
    bound: 2 * KIB,
    run: stalled('held', { type: 'application/json', length: 64 * KIB, sent: `{"text":"${'x'.repeat(32 * KIB)}` }, 0),
  },
  {
    name: 'has sent half of a multipart upload of 1 MiB',
    bound: 32 * KIB,
    run: stalled('upload', multipart(MIB, MIB / 2), MIB / 2),
  },
  { name: 'waits for its handler, with a body of 16 KiB', bound: 28 * KIB, run: waiting(() => randomUUID()) },
  { name: 'waits for another request, with a body of 16 KiB', bound: 24 * KIB, run: waiting(() => 'same', true) },
  { name: 'was refused, and keeps its connection', bound: 6 * KIB, run: refused },
  {
    name: 'does not read a response of 16 MiB',
    bound: MOST_HELD + 128 * KIB,
    run: slow('large?mib=16', 'large?mib=16'),
  },
  {
    name: 'does not read an endless response',
    bound: MOST_HELD + 128 * KIB,
    isAlike: true,
    run: slow('endless', 'endless'),
  },
  {
    name: 'does not read an endless stream, in a transaction',
    bound: 64 * KIB,
    run: slow('endless-stream', 'endless', { most: 8 }),
  },
  {
    name: 'reads an endless response: growth',
    bound: MIB,
    isAlike: true,
    run: reading('endless', 'endless'),
  },
  {
    name: 'the same, in a transaction',
    bound: MIB,
    isAlike: true,
    run: reading('endless-transaction', 'endless'),
  },
  {
    name: 'the same, as a stream in a transaction',
    bound: MIB,
    isAlike: true,
    run: reading('endless-stream', 'endless'),
  },
];

/**
 * The same application for clients that come first, to have code compiled and tables grown: nothing is measured of them, which
 * takes longer than they do.
 *
 * @param {App} app
 * @returns {App}
 */
export function unmeasured(app) {
  const ask = async (/** @type {{ ask: string }} */ question) =>
    question.ask === 'memory' ? { bytes: 0, exchanges: 0 } : app.ask(question);
  return /** @type {App} */ (/** @type {Pick<App, 'ask' | 'port'>} */ ({ port: app.port, ask }));
}

/**
 * @param {string} path
 * @param {{ type: string, length: number, sent: string }} body
 * @param {number} received by the handler, of each
 * @returns {Scenario['run']}
 */
function stalled(path, { type, length, sent }, received) {
  return async (app, count) => {
    const of = (/** @type {'ours' | 'bare'} */ who) =>
      hold(app, count, {
        open: () => Client.open(app.port, request(`/${who}/${path}`, { type, length, sent })),
        isReady: async () => {
          const done = await app.ask({ ask: 'done' });
          return done.arrived > sent.length * count && done.received === received * count;
        },
      });
    return compared(count, await of('bare'), await of('ours'));
  };
}

/**
 * @param {() => string} keyOf
 * @param {boolean} [ofOne] whether all have one key, and wait for the first
 * @returns {Scenario['run']}
 */
function waiting(keyOf, ofOne = false) {
  return async (app, count) => {
    const round = randomUUID();
    const sent = JSON.stringify({ text: 'x'.repeat(16 * KIB) });
    const body = () => ({ type: 'application/json', length: sent.length, sent, key: `${round}${keyOf()}` });
    const of = (/** @type {'ours' | 'bare'} */ who) =>
      hold(app, count, {
        open: () => Client.open(app.port, request(`/${who}/held`, body())),
        isReady: async () => {
          const { begun, arrived } = await app.ask({ ask: 'done' });
          return arrived > sent.length * count && begun === (ofOne && who === 'ours' ? 1 : count);
        },
        end: async (clients) => {
          const answers = await Promise.all(clients.map((client) => client.status()));
          const odd = answers.find((status) => status !== 201);
          if (odd !== undefined) throw new Error(`a client got ${odd}`);
        },
      });
    return compared(count, await of('bare'), await of('ours'));
  };
}

/**
 * @param {App} app
 * @param {number} count
 */
async function refused(app, count) {
  const sent = JSON.stringify({ text: 'x'.repeat(16 * KIB) });
  const key = randomUUID();
  /** @type {Client | undefined} */
  let first;
  const open = () =>
    Client.open(app.port, request('/ours/refused', { type: 'application/json', length: sent.length, sent, key }));
  const bare = await hold(app, count, { open: () => Client.open(app.port, 'GET /none HTTP/1.1\r\nHost: a\r\n\r\n') });
  const ours = await hold(app, count, {
    begin: async () => {
      first = await open();
      await until(async () => (await app.ask({ ask: 'done' })).begun === 1, 'the first request runs');
    },
    open: async () => {
      const client = await open();
      if ((await client.status()) !== 409) throw new Error('a retry was not refused');
      return client;
    },
    // A client has its response before the server has released the request. The first one's stays.
    isReady: async () => (await app.ask({ ask: 'memory' })).exchanges <= 2,
    end: async () => {
      await first?.status();
      first?.close();
    },
  });
  return compared(count, bare, ours);
}

/**
 * @param {string} path
 * @param {string} bare
 * @param {{ most?: number }} [how] at most so many clients: each has a connection to the database
 * @returns {Scenario['run']}
 */
function slow(path, bare, { most = Infinity } = {}) {
  return async (app, clients) => {
    const count = Math.min(clients, most);
    const socket = await app.ask({ ask: 'slow-socket' });
    const of = (/** @type {'ours' | 'bare'} */ who) => {
      let written = -1;
      return hold(app, count, {
        open: () => Client.open(socket.path, emptyRequest(`/${who}/${who === 'ours' ? path : bare}`), { reads: false }),
        // Until backpressure has come to all handlers.
        isReady: async () => {
          const now = await app.ask({ ask: 'done' });
          const isStill = now.begun === count && now.written === written;
          written = now.written;
          await sleep(500);
          return isStill;
        },
      });
    };
    return compared(count, await of('bare'), await of('ours'));
  };
}

/**
 * @param {string} path
 * @param {string} bare
 * @returns {Scenario['run']}
 */
function reading(path, bare) {
  return async (app, clients) => {
    const of = async (/** @type {'ours' | 'bare'} */ who) => {
      await app.ask({ ask: 'close-gate' });
      const reader = await Client.open(app.port, emptyRequest(`/${who}/${who === 'ours' ? path : bare}`));
      const hasWritten = (/** @type {number} */ mib) =>
        until(async () => (await app.ask({ ask: 'done' })).written > mib * MIB, `${mib} MiB are written`);
      await hasWritten(16);
      const before = await app.ask({ ask: 'memory' });
      await hasWritten(16 + clients / 4);
      const held = await app.ask({ ask: 'memory' });
      await app.ask({ ask: 'open-gate' });
      reader.close();
      const kept = await whatIsLeft(app);
      const after = await app.ask({ ask: 'memory' });
      return { each: held.bytes - before.bytes, left: after.bytes - before.bytes, kept };
    };
    return compared(1, await of('bare'), await of('ours'));
  };
}

/** @param {string} path */
const emptyRequest = (path) => request(path, { type: 'application/json', length: 2, sent: '{}' });

/**
 * @param {App} app
 * @param {number} count
 * @param {object} how
 * @param {() => Promise<unknown>} [how.begin] before memory is measured
 * @param {() => Promise<Client>} how.open
 * @param {() => Promise<boolean>} [how.isReady] whether all clients hold what they are to hold
 * @param {(clients: Client[]) => Promise<unknown>} [how.end] once handlers may end, before the clients hang up
 */
async function hold(app, count, { begin, open, isReady, end }) {
  // The first connections compile code, and make tables grow.
  await app.ask({ ask: 'close-gate' });
  await begin?.();
  const before = await app.ask({ ask: 'memory' });
  /** @type {Client[]} */
  const clients = [];
  while (clients.length < count) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - clients.length) }, open);
    clients.push(...(await Promise.all(batch)));
  }
  if (isReady) await until(isReady, 'all clients hold what they are to hold');
  const held = await app.ask({ ask: 'memory' });
  await app.ask({ ask: 'open-gate' });
  await end?.(clients);
  for (const client of clients) client.close();
  const kept = await whatIsLeft(app);
  const after = await app.ask({ ask: 'memory' });
  return { each: (held.bytes - before.bytes) / count, left: (after.bytes - before.bytes) / count, kept };
}

/**
 * What is left of requests that have ended, by name; what follows an end takes a moment. Empty where all is well.
 *
 * @param {App} app
 * @returns {Promise<Record<string, number>>}
 */
async function whatIsLeft(app) {
  /** @type {Record<string, number>} */
  let left = {};
  const nothingOf = (/** @type {Record<string, number>} */ counts) => {
    left = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
    return Object.keys(left).length === 0;
  };
  const giveUpAt = performance.now() + END_WITHIN_MS;
  while (performance.now() < giveUpAt) {
    const { exchanges } = nothingOf(await app.ask({ ask: 'kept' })) ? await app.ask({ ask: 'memory' }) : {};
    if (exchanges !== undefined && nothingOf({ exchanges })) break;
    await sleep(exchanges === undefined ? 20 : 500);
  }
  return left;
}

/**
 * Ends requests in every way there is, and returns what is left of them, by the way that they ended: nothing, where all is well.
 * Ends the application at last.
 *
 * @param {App} app
 * @param {number} count of requests of each kind
 */
export async function endInEveryWay(app, count) {
  const open = (/** @type {string} */ path, /** @type {string} */ key) =>
    Client.open(app.port, request(`/ours/${path}`, { type: 'application/json', length: 2, sent: '{}', key }));
  const openAll = async (/** @type {string} */ path, key = () => randomUUID()) =>
    Promise.all(Array.from({ length: count }, () => open(path, key())));
  const begun = (/** @type {number} */ runs) =>
    until(async () => (await app.ask({ ask: 'done' })).begun === runs, `${runs} handlers run`);
  const answered = async (/** @type {Client[]} */ clients, /** @type {number} */ expected) => {
    const statuses = new Set(await Promise.all(clients.map((client) => client.status())));
    if (statuses.size !== 1 || !statuses.has(expected)) throw new Error(`${[...statuses].join()}, not ${expected}`);
  };
  const letGo = () => app.ask({ ask: 'open-gate' });

  /** @type {Record<string, () => Promise<Client[]>>} */
  const ways = {
    success: async () => {
      const clients = await openAll('held');
      await begun(count);
      await letGo();
      await answered(clients, 201);
      return clients;
    },
    failure: async () => {
      const clients = await openAll('failing');
      await begun(count);
      await letGo();
      await answered(clients, 503);
      return clients;
    },
    'a handler that leaves a timer': async () => {
      const clients = await openAll('lasting');
      await begun(count);
      await letGo();
      await answered(clients, 201);
      return clients;
    },
    'a client that hangs up': async () => {
      const clients = await openAll('held');
      await begun(count);
      for (const client of clients) client.close();
      await letGo();
      return clients;
    },
    'an upload that breaks off': async () => {
      const { type, length, sent } = multipart(MIB, MIB / 2);
      const clients = await Promise.all(
        Array.from({ length: count }, () => Client.open(app.port, request('/ours/upload', { type, length, sent }))),
      );
      await begun(count);
      return clients;
    },
    'an interceptor that gives up': async () => {
      const clients = await openAll('timed-out');
      await begun(count);
      await answered(clients, 500);
      await letGo();
      return clients;
    },
    'retries that wait, and hang up': async () => {
      const key = randomUUID();
      const clients = await openAll('held', () => key);
      await begun(1);
      for (const client of clients) client.close();
      await letGo();
      return clients;
    },
    'a lost lease': async () => {
      const clients = await openAll('brief');
      await begun(count);
      await app.ask({ ask: 'take-over' });
      await until(async () => (await app.ask({ ask: 'kept' })).inFlight === 0, 'all leases are lost');
      await letGo();
      await answered(clients, 409);
      return clients;
    },
    'retries that wait for another process': async () => {
      const key = randomUUID();
      const [first] = [await open('brief', key)];
      await begun(1);
      await app.ask({ ask: 'take-over' });
      await until(async () => (await app.ask({ ask: 'kept' })).inFlight === 0, 'the lease is lost');
      const clients = await openAll('brief', () => key);
      await until(async () => (await app.ask({ ask: 'kept' })).watchers === 1, 'retries watch the record');
      for (const client of clients) client.close();
      await letGo();
      return [first, ...clients];
    },
    'a shutdown': async () => {
      const clients = await openAll('held');
      await begun(count);
      const closed = app.ask({ ask: 'close' });
      await letGo();
      await answered(clients, 201);
      for (const client of clients) client.close();
      await closed;
      return clients;
    },
  };

  /** @type {Record<string, Record<string, number>>} */
  const left = {};
  for (const [way, end] of Object.entries(ways)) {
    await app.ask({ ask: 'close-gate' });
    const clients = await end().catch((/** @type {Error} */ error) => {
      throw new Error(`${way}: ${error.message}`);
    });
    for (const client of clients) client.close();
    const kept = await whatIsLeft(app);
    if (Object.keys(kept).length > 0) left[way] = kept;
  }
  return left;
}

/**
 * @param {number} clients
 * @param {Awaited<ReturnType<typeof hold>>} bare
 * @param {Awaited<ReturnType<typeof hold>>} ours
 * @returns {Measured}
 */
function compared(clients, bare, ours) {
  return { clients, each: ours.each - bare.each, bare: bare.each, left: ours.left, kept: ours.kept };
}

/**
 * What is wrong with what was measured; empty where nothing is.
 *
 * @param {Scenario} scenario
 * @param {Measured} measured
 */
export function broken({ name, bound }, { clients, each, left, kept }) {
  const problems = [];
  if (each > bound) problems.push(`${name}: ${Math.round(each)} bytes each, at most ${bound}`);
  // A few clients leave as much as many: what the heap itself grows by.
  if (left * clients > Math.max(MOST_LEFT * clients, 2 * MIB))
    problems.push(`${name}: ${Math.round(left)} bytes left behind by each`);
  for (const [what, count] of Object.entries(kept)) problems.push(`${name}: ${count} of ${what} are left`);
  return problems;
}

/**
 * @param {() => Promise<boolean>} isSo
 * @param {string} what is waited for
 */
async function until(isSo, what) {
  for (const giveUpAt = performance.now() + PATIENCE_MS; !(await isSo()); await sleep(20)) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
  }
}

/**
 * @param {number} length
 * @param {number} sentBytes
 */
function multipart(length, sentBytes) {
  const head = '--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n';
  return { type: 'multipart/form-data; boundary=frontier', length, sent: head.padEnd(sentBytes, 'x') };
}

/**
 * @param {string} path
 * @param {{ type: string, length: number, sent: string, key?: string }} body
 */
function request(path, { type, length, sent, key = randomUUID() }) {
  return [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Content-Type: ${type}`,
    `Content-Length: ${length}`,
    `Idempotency-Key: ${key}`,
    '',
    sent,
  ].join('\r\n');
}

/** A connection with one request. */
class Client {
  #socket;
  #text = '';

  /**
   * @param {import('node:net').Socket} socket
   * @param {boolean} reads
   */
  constructor(socket, reads) {
    this.#socket = socket;
    socket.on('error', () => socket.destroy());
    if (reads) socket.on('data', (chunk) => (this.#text ||= chunk.subarray(0, 64).toString('latin1')));
  }

  /**
   * @param {number | string} at a port, or the path of a Unix socket
   * @param {string} sent
   * @param {{ reads?: boolean }} [how]
   */
  static async open(at, sent, { reads = true } = {}) {
    const socket = typeof at === 'string' ? connect(at) : connect({ port: at, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    socket.write(sent, 'latin1');
    return new Client(socket, reads);
  }

  /** @returns {Promise<number>} of the response; 0 where the server has hung up */
  async status() {
    const told = () => /^HTTP\/1\.1 (\d+)/.exec(this.#text)?.[1];
    await until(async () => told() !== undefined || this.#socket.destroyed, 'a response');
    return Number(told() ?? 0);
  }

  close() {
    this.#socket.destroy();
  }
}
