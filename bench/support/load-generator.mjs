/**
 * The client, in a process of its own: requests that are made beforehand, over raw sockets, each sent when the answer to
 * the one before it has come, or at fixed times. Takes one job at a time by message and answers with what it measured.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {string} path
 * @property {number} connections
 * @property {number} [rate] requests a second, sent at fixed times whatever the answers do (open loop); latency is counted from
 *   the time that a request is due, and further connections are opened where all of them wait
 * @property {number} warmUpMs answered before this is not counted
 * @property {number} ms
 * @property {number} [requests] ends the job after so many, in place of a time
 * @property {Keys} keys
 * @property {string} [body] JSON
 */

/**
 * Which keys are sent. `fresh`: each once. `shared`: each `times`, at once. `cycle`: so many, again and again.
 * `duplicates`: fresh, but this share repeats the key that was sent last.
 *
 * @typedef {{ kind: 'fresh', prefix: string } | { kind: 'shared', prefix: string, times: number }
 *   | { kind: 'cycle', prefix: string, count: number } | { kind: 'duplicates', prefix: string, share: number }} Keys
 */

/**
 * @typedef {object} Measured
 * @property {number} total answers, those of the warm-up included
 * @property {number} perSecond
 * @property {number} p50 in milliseconds
 * @property {number} p99
 * @property {number} mean
 * @property {Record<string, number>} statuses
 */

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const DIGITS = 12;
const BODY = JSON.stringify({ amount: 1250, currency: 'EUR', customer: 'c-1042' });

process.on('message', (/** @type {Job} */ job) => {
  void carryOut(job)
    .then((measured) => ({ measured }))
    .catch((/** @type {unknown} */ error) => ({ error: String(error) }))
    .then((answer) => process.send?.(answer));
});
process.once('disconnect', () => process.exit());

/**
 * @param {Job} job
 * @returns {Promise<Measured>}
 */
async function carryOut(job) {
  const { warmUpMs, ms, requests = Infinity } = job;
  const nextKey = keysOf(job.keys);
  /** @type {Record<string, number>} */
  const statuses = {};
  let latencies = new Float64Array(1 << 16);
  let counted = 0;
  let total = 0;
  let sent = 0;
  const startedAt = performance.now();
  const countFrom = startedAt + warmUpMs;
  const endsAt = requests === Infinity ? countFrom + ms : Infinity;

  const exchange = async (/** @type {Connection} */ connection, /** @type {number} */ dueAt) => {
    const status = await connection.exchange(nextKey());
    const now = performance.now();
    total++;
    // At fixed times, a slow answer counts as well as a fast one, however late it comes.
    const at = job.rate ? dueAt : now;
    if (at < countFrom || at > endsAt) return;
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (counted === latencies.length) {
      const grown = new Float64Array(counted * 2);
      grown.set(latencies);
      latencies = grown;
    }
    latencies[counted++] = now - dueAt;
  };
  const mayGoOn = () => sent < requests && performance.now() < endsAt && ++sent > 0;
  await (job.rate ? sendAtFixedTimes(job, job.rate, mayGoOn, exchange) : sendOneByOne(job, mayGoOn, exchange));

  const sorted = latencies.subarray(0, counted).sort();
  const seconds = (Math.min(performance.now(), endsAt) - countFrom) / 1000;
  const quantile = (/** @type {number} */ q) => sorted[Math.min(counted - 1, Math.floor(counted * q))];
  return {
    total,
    perSecond: counted / seconds,
    p50: quantile(0.5),
    p99: quantile(0.99),
    mean: sorted.reduce((sum, one) => sum + one, 0) / counted,
    statuses,
  };
}

/**
 * @typedef {(connection: Connection, dueAt: number) => Promise<void>} Exchange sends a request and waits for its answer
 *
 * @param {Job} job
 * @param {() => boolean} mayGoOn
 * @param {Exchange} exchange
 */
async function sendOneByOne(job, mayGoOn, exchange) {
  const talk = async () => {
    const connection = await Connection.open(job);
    while (mayGoOn()) await exchange(connection, performance.now());
    connection.close();
  };
  await Promise.all(Array.from({ length: job.connections }, talk));
}

/**
 * @param {Job} job
 * @param {number} rate
 * @param {() => boolean} mayGoOn
 * @param {Exchange} exchange
 */
async function sendAtFixedTimes(job, rate, mayGoOn, exchange) {
  const idle = await Promise.all(Array.from({ length: job.connections }, () => Connection.open(job)));
  /** @type {Promise<void>[]} */
  const exchanges = [];
  const send = async (/** @type {number} */ dueAt) => {
    const connection = idle.pop() ?? (await Connection.open(job));
    await exchange(connection, dueAt);
    idle.push(connection);
  };
  const startedAt = performance.now();
  for (let n = 0; mayGoOn(); n++) {
    const dueAt = startedAt + (n * 1000) / rate;
    while (performance.now() < dueAt) await sleep(dueAt - performance.now());
    exchanges.push(send(dueAt));
  }
  await Promise.all(exchanges);
  for (const connection of idle) connection.close();
}

/** Takes one request at a time. */
class Connection {
  #socket;
  #request;
  #keyAt;
  /** @type {Buffer | undefined} */
  #partial;
  /** @type {{ resolve: (status: number) => void, reject: (error: Error) => void } | undefined} */
  #answer;

  /**
   * @param {Job} job
   * @param {import('node:net').Socket} socket
   */
  constructor(job, socket) {
    ({ request: this.#request, keyAt: this.#keyAt } = requestOf(job));
    this.#socket = socket;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', (error) => this.#answer?.reject(error));
    socket.on('close', () => this.#answer?.reject(new Error('the server closed the connection')));
  }

  /** @param {Job} job */
  static async open(job) {
    const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new Connection(job, socket);
  }

  /**
   * @param {number} key
   * @returns {Promise<number>} the status of the answer
   */
  exchange(key) {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error('the server closed the connection'));
      this.#answer = { resolve, reject };
      this.#request.write(String(key).padStart(DIGITS, '0'), this.#keyAt, 'latin1');
      this.#socket.write(this.#request);
    });
  }

  close() {
    this.#socket.end();
  }

  /** @param {Buffer} chunk */
  #read(chunk) {
    const answer = this.#partial ? Buffer.concat([this.#partial, chunk]) : chunk;
    this.#partial = isWhole(answer) ? undefined : answer;
    if (!this.#partial) this.#answer?.resolve(statusOf(answer));
  }
}

/** @param {Job} job */
function requestOf({ path, keys, body = BODY }) {
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Idempotency-Key: ${keys.prefix}`,
  ].join('\r\n');
  return { request: Buffer.from(`${head}${'0'.repeat(DIGITS)}\r\n\r\n${body}`), keyAt: Buffer.byteLength(head) };
}

/**
 * @param {Keys} keys
 * @returns {() => number}
 */
function keysOf(keys) {
  let n = 0;
  switch (keys.kind) {
    case 'fresh':
      return () => n++;
    case 'shared':
      return () => Math.floor(n++ / keys.times);
    case 'cycle':
      return () => n++ % keys.count;
    case 'duplicates':
      return () => (Math.random() < keys.share ? n : ++n);
  }
}

/** @param {Buffer} answer */
function isWhole(answer) {
  const headEnd = answer.indexOf(HEAD_END);
  if (headEnd < 0) return false;
  const head = answer.toString('latin1', 0, headEnd);
  const length = /content-length: (\d+)/i.exec(head);
  if (length) return answer.length >= headEnd + 4 + Number(length[1]);
  return !/transfer-encoding: chunked/i.test(head) || answer.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK);
}

/** @param {Buffer} answer */
function statusOf(answer) {
  return (answer[9] - 48) * 100 + (answer[10] - 48) * 10 + (answer[11] - 48);
}
