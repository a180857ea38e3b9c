/** @typedef {import('./load-generator.mjs').Keys} Keys */

/**
 * A key a request.
 *
 * @param {string} name
 * @returns {(round: number) => Keys}
 */
export const fresh = (name) => (round) => ({ kind: 'fresh', prefix: `${name}${round}-` });

/**
 * Sends each key of a cycle once.
 *
 * @param {import('./app.mjs').App} app
 * @param {string} path
 * @param {Extract<Keys, { kind: 'cycle' }>} keys
 * @param {import('./load.mjs').Load} load
 */
export function run(app, path, keys, load) {
  return load.run({ port: app.port, path, connections: 32, warmUpMs: 0, ms: 0, requests: keys.count, keys });
}

/**
 * Sends the first key of a prefix, and does not wait for more than that the operation runs.
 *
 * @param {import('./app.mjs').App} app
 * @param {string} path
 * @param {string} prefix
 * @param {string} body
 */
export async function begin(app, path, prefix, body) {
  void send(app, path, prefix, body).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 100));
}

/**
 * @param {import('./app.mjs').App} app
 * @param {string} path
 * @param {string} prefix
 * @param {string} body
 */
export function send(app, path, prefix, body) {
  return fetch(`http://127.0.0.1:${app.port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `${prefix}${'0'.repeat(12)}` },
    body,
  });
}

/**
 * Throws if there were answers of another status.
 *
 * @param {...number} statuses
 * @returns {(measured: import('./load-generator.mjs').Measured) => void}
 */
export const answersOnly =
  (...statuses) =>
  ({ statuses: found }) => {
    const wrong = Object.keys(found).filter((status) => !statuses.includes(Number(status)));
    if (wrong.length) throw new Error(`expected ${statuses.join(', ')}, got ${JSON.stringify(found)}`);
  };
