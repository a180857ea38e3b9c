/**
 * The client, in a process of its own: requests that are made beforehand, over raw sockets, each sent when the answer to
 * the one before it has come. Takes one job at a time by message and answers with what it measured.
 */
import { connect } from 'node:net';

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {string} path
 * @property {number} connections
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
  const { connections, warmUpMs, ms, requests = Infinity } = job;
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

  const onAnswer = (/** @type {number} */ status, /** @type {number} */ sentAt) => {
    const now = performance.now();
    total++;
    if (now < countFrom || now > endsAt) return;
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (counted === latencies.length) {
      const grown = new Float64Array(counted * 2);
      grown.set(latencies);
      latencies = grown;
    }
    latencies[counted++] = now - sentAt;
  };
  const mayGoOn = () => sent < requests && performance.now() < endsAt && ++sent > 0;
  await Promise.all(Array.from({ length: connections }, () => converse(job, nextKey, mayGoOn, onAnswer)));

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
 * One connection, until it may not go on.
 *
 * @param {Job} job
 * @param {() => number} nextKey
 * @param {() => boolean} mayGoOn
 * @param {(status: number, sentAt: number) => void} onAnswer
 * @returns {Promise<void>}
 */
function converse(job, nextKey, mayGoOn, onAnswer) {
  const { request, keyAt } = requestOf(job);
  return new Promise((resolve, reject) => {
    const socket = connect({ port: job.port, host: '127.0.0.1', noDelay: true });
    let sentAt = 0;
    /** @type {Buffer | undefined} */
    let partial;
    const send = () => {
      if (!mayGoOn()) return void socket.end(() => resolve());
      request.write(String(nextKey()).padStart(DIGITS, '0'), keyAt, 'latin1');
      sentAt = performance.now();
      socket.write(request);
    };
    socket.once('connect', send);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the server closed the connection')));
    socket.on('data', (chunk) => {
      const answer = partial ? Buffer.concat([partial, chunk]) : chunk;
      if (!isWhole(answer)) return void (partial = answer);
      partial = undefined;
      onAnswer(statusOf(answer), sentAt);
      send();
    });
  });
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
