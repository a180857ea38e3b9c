/**
 * Load with retries: k6 run -e TOKEN=... k6/payments.js
 *
 * Each iteration orders and pays, and sends each request several times at once under one key, as clients do that lose
 * patience. At the end, the provider's ledger must not have two charges for one order.
 */
import { check, fail } from 'k6';
import http from 'k6/http';
import { Counter, Rate } from 'k6/metrics';

const URL = __ENV.URL ?? 'http://localhost:8080';
const PROVIDER_URL = __ENV.PROVIDER_URL ?? 'http://localhost:4000';
const DUPLICATES = Number(__ENV.DUPLICATES ?? 3);

const replays = new Counter('replays');
const differing = new Rate('differing_answers');
const chargedTwice = new Counter('charged_twice');

export const options = {
  scenarios: {
    payments: {
      executor: 'ramping-vus',
      stages: [
        { duration: '10s', target: 20 },
        { duration: '40s', target: 20 },
        { duration: '10s', target: 0 },
      ],
    },
  },
  thresholds: {
    checks: ['rate==1'],
    differing_answers: ['rate==0'],
    charged_twice: ['count==0'],
    http_req_duration: ['p(99)<2000'],
  },
};

/** Fails before the load begins where the service is not there, or the token is no good. */
export async function setup() {
  if (!__ENV.TOKEN) fail('Set TOKEN: see "npm run token"');
  const response = await http.asyncRequest('GET', `${URL}/orders`, null, { headers: authorization() });
  if (response.status !== 200) fail(`GET ${URL}/orders: ${response.status}`);
}

export default async function () {
  const order = await sendDuplicates('/orders', { description: 'load', amount: 1_250, currency: 'EUR' });
  if (order) await sendDuplicates('/payments', { order: order.id, card: 'tok_visa' });
}

/** Reads what the provider carried out. Each order has a card charged once, or the double charge is counted. */
export async function teardown() {
  const response = await http.asyncRequest('GET', `${PROVIDER_URL}/ledger`);
  const charges = response
    .json()
    .filter(({ path, answer }) => path === '/charges' && answer.body.status === 'succeeded');
  const orders = charges.map(({ request }) => request.reference);
  const twice = orders.length - new Set(orders).size;
  if (twice > 0) chargedTwice.add(twice);
  check(charges, { 'no order is charged twice': () => twice === 0 });
}

/** The same request, several times at once under one key. All of them get the same answer. */
async function sendDuplicates(path, body) {
  const params = {
    headers: { ...authorization(), 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() },
    tags: { name: path },
  };
  const send = () => http.asyncRequest('POST', `${URL}${path}`, JSON.stringify(body), params);
  const responses = await Promise.all(Array.from({ length: DUPLICATES }, send));
  const [first] = responses;
  const areCreated = check(responses, { [`POST ${path} is answered with 201`]: (all) => all.every(isCreated) });
  differing.add(responses.some((response) => response.body !== first.body));
  replays.add(responses.filter(isReplay).length);
  return areCreated ? first.json() : undefined;
}

const authorization = () => ({ Authorization: `Bearer ${__ENV.TOKEN}` });
const isCreated = ({ status }) => status === 201;
const isReplay = ({ headers }) => headers['Idempotent-Replayed'] === 'true';
