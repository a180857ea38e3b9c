import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { parse } from 'yaml';
import { loadK6 } from './support/k6.mjs';
import { labelsOf, metricsOf } from './support/promql.mjs';
import { compose, composeEnvironment, read, root, startStage, until } from './support/service.mjs';

let stage;
let a;
let b;
let tokens;
let database;

before(async () => {
  stage = await startStage();
  const [, , ...issued] = await Promise.all([
    stage.command(join(root, '../../node_modules/typeorm/cli.js'), 'migration:run', '-d', 'dist/data-source.js'),
    stage.startProvider(),
    ...[['alice'], ['bob'], ['olga', 'operator']].map((words) => stage.command('dist/token.js', ...words)),
  ]);
  const [alice, bob, olga] = issued.map(({ stdout }) => stdout.trim());
  tokens = { alice, bob, olga };
  [a, b] = await Promise.all([stage.startInstance(), stage.startInstance()]);
  database = new pg.Client({ connectionString: stage.env.DATABASE_URL });
  // Waits for its end below, but PostgreSQL may say goodbye first.
  database.on('error', () => undefined);
  await database.connect();
});

after(async () => {
  await database?.end();
  await stage?.end();
});

async function post({ url }, path, body, { key = randomUUID(), token = tokens.alice } = {}) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return {
    status: response.status,
    isReplay: response.headers.get('Idempotent-Replayed') === 'true',
    text,
    json: JSON.parse(text),
  };
}

async function newOrder(instance = a) {
  const { status, json } = await post(instance, '/orders', {
    description: 'a bicycle',
    amount: 50_000,
    currency: 'EUR',
  });
  assert.equal(status, 201);
  return json;
}

const payment = (order, card = 'tok_visa') => ({ order: order.id, card });
const rows = async (sql, ...values) => (await database.query(sql, values)).rows;
const providerShall = (behaviour) =>
  fetch(`${stage.provider}/behaviour`, { method: 'PUT', body: JSON.stringify(behaviour) });

/** What the provider carried out on one of its paths, for an order where one is given. */
async function carriedOut(path, order) {
  const entries = await (await fetch(`${stage.provider}/ledger`)).json();
  const isAbout = ({ request }) => [request.reference, request.order].includes(order.id);
  return entries.filter((entry) => entry.path === path && (!order || isAbout(entry)));
}

test('a payment that is sent to both instances charges once, and both get the same bytes', async () => {
  const order = await newOrder();
  const key = randomUUID();
  const answers = await Promise.all(
    [a, b, a, b].map((instance) => post(instance, '/payments', payment(order), { key })),
  );
  answers.push(await post(b, '/payments', payment(order), { key }));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
  assert.equal(answers.filter(({ isReplay }) => isReplay).length, 4);

  const charges = await carriedOut('/charges', order);
  assert.deepEqual(
    charges.map(({ requests }) => requests),
    [1],
  );
  const posted = await rows(
    'SELECT account, amount FROM ledger WHERE posting = $1 ORDER BY amount',
    answers[0].json.id,
  );
  assert.deepEqual(posted, [
    { account: 'receivable:alice', amount: -50_000 },
    { account: 'bank', amount: 50_000 },
  ]);
});

test('another key does not pay a paid order, another body is refused, and a declined card is an outcome', async () => {
  const order = await newOrder();
  const key = randomUUID();
  const declined = await post(a, '/payments', payment(order, 'tok_declined'), { key });
  assert.equal(declined.status, 402);
  const again = await post(b, '/payments', payment(order, 'tok_declined'), { key });
  assert.deepEqual([again.status, again.isReplay, again.text], [402, true, declined.text]);
  assert.equal((await post(a, '/payments', payment(order), { key })).json.code, 'key-reused');

  assert.equal((await post(a, '/payments', payment(order))).status, 201);
  assert.equal((await post(b, '/payments', payment(order))).status, 409);
  assert.equal((await carriedOut('/charges', order)).length, 2);
});

test('keys belong to users', async () => {
  const order = await newOrder();
  const key = randomUUID();
  assert.equal((await post(a, '/payments', payment(order), { key })).status, 201);
  const bobs = await post(b, '/payments', payment(order), { key, token: tokens.bob });
  assert.deepEqual([bobs.status, bobs.isReplay], [404, false]);
  assert.equal((await post(b, '/payments', payment(order), { key, token: 'none' })).status, 401);
  assert.equal((await fetch(`${a.url}/orders/${order.id}`)).status, 401);
});

test('ten orders under one key are one order, and its ledger is balanced', async () => {
  const key = randomUUID();
  const dto = { description: 'ten at once', amount: 700, currency: 'EUR' };
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => post(i % 2 ? a : b, '/orders', dto, { key })));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
  const [{ count }] = await rows('SELECT count(*)::int FROM orders WHERE description = $1', dto.description);
  assert.equal(count, 1);
  const [{ sides, sum }] = await rows(
    'SELECT count(*)::int AS sides, sum(amount)::int FROM ledger WHERE posting = $1',
    answers[0].json.id,
  );
  assert.deepEqual({ sides, sum }, { sides: 2, sum: 0 });
});

test('the other instance goes on after a kill: with the step that was interrupted, or with a held record', async () => {
  const order = await newOrder();
  const [paymentKey, payoutKey] = [randomUUID(), randomUUID()];
  const payout = { iban: 'DE89370400440532013000', amount: 900, currency: 'EUR' };
  await providerShall({ hold: ['/receipts', '/transfers'] });
  const lost = Promise.allSettled([
    post(a, '/payments', payment(order), { key: paymentKey }),
    post(a, '/payouts', payout, { key: payoutKey }),
  ]);
  await until('both are carried out and not answered', async () => {
    const [receipts, transfers] = await Promise.all([carriedOut('/receipts', order), carriedOut('/transfers')]);
    return receipts.length === 1 && transfers.length === 1;
  });
  await a.kill('SIGKILL');
  assert.deepEqual(new Set((await lost).map(({ status }) => status)), new Set(['rejected']));
  await providerShall({ hold: [] });

  const retried = await until('the lease has run out', async () => {
    const answer = await post(b, '/payments', payment(order), { key: paymentKey });
    return answer.status !== 409 && answer;
  });
  assert.deepEqual([retried.status, retried.isReplay], [201, false]);
  const [charges, receipts] = [await carriedOut('/charges', order), await carriedOut('/receipts', order)];
  // The charge was on record and was not sent again. The receipt was, and the provider knew its key.
  assert.deepEqual(
    [...charges, ...receipts].map(({ requests }) => requests),
    [1, 2],
  );
  const [{ count }] = await rows('SELECT count(*)::int FROM payments WHERE "order" = $1', order.id);
  assert.equal(count, 1);

  const unknown = await post(b, '/payouts', payout, { key: payoutKey });
  assert.deepEqual([unknown.status, unknown.json.code], [409, 'outcome-unknown']);
  assert.equal((await carriedOut('/transfers')).length, 1);
  await until('the held record is in the metrics', async () =>
    /^payments_idempotency_records\{status="held".*\} 1$/m.test(await metricsText()),
  );

  // What an operator does in the browser, or on the command line.
  const page = (path, token, init) =>
    fetch(`${b.url}/idempotency${path}`, {
      ...init,
      headers: {
        ...(token && { Authorization: `Basic ${Buffer.from(`me:${token}`).toString('base64')}` }),
        'Content-Type': 'application/json',
        'X-Idempotency-Dashboard': '1',
      },
    });
  const refused = await page('', undefined);
  assert.deepEqual([refused.status, refused.headers.get('WWW-Authenticate')], [401, 'Basic realm="operators"']);
  assert.equal((await page('/api/records', tokens.alice)).status, 403);
  assert.match(await (await page('', tokens.olga)).text(), /<html/);
  const [{ id }] = (await (await page('/api/records?status=held', tokens.olga)).json()).records;
  const listed = await stage.command(join(root, '../../dist/cli/main.js'), 'list', '--held', '--json');
  assert.deepEqual(
    JSON.parse(listed.stdout).map(({ recordId }) => recordId),
    [id],
  );
  const response = { status: 201, headers: { 'Content-Type': 'application/json' }, body: '{"status":"sent"}' };
  const body = JSON.stringify({ reason: 'the bank says so', outcome: response });
  const resolved = await page(`/api/records/${id}/resolve`, tokens.olga, { method: 'POST', body });
  assert.equal(resolved.status, 200, await resolved.text());
  const settled = await post(b, '/payouts', payout, { key: payoutKey });
  assert.deepEqual([settled.status, settled.text], [201, '{"status":"sent"}']);
});

test('a payout that the bank does not answer is not sent again', async () => {
  const key = randomUUID();
  const payout = { iban: 'DE89370400440532013000', amount: 901, currency: 'EUR' };
  const before = (await carriedOut('/transfers')).length;
  await providerShall({ fail: ['/transfers'] });
  assert.equal((await post(b, '/payouts', payout, { key })).status, 502);
  await providerShall({ fail: [] });
  const again = await post(b, '/payouts', payout, { key });
  assert.deepEqual([again.status, again.isReplay], [502, true]);
  assert.equal((await carriedOut('/transfers')).length, before + 1);
  assert.equal((await rows("SELECT FROM payouts WHERE status = 'unknown'")).length, 1);
});

test('without Redis payments go on, and the instance is healthy', async () => {
  await stage.redis.stop();
  const order = await newOrder(b);
  assert.equal((await post(b, '/payments', payment(order))).status, 201);
  const health = await fetch(`${b.url}/health`);
  assert.equal(health.status, 200);
  const { details } = await health.json();
  assert.equal(details.database.status, 'up');
  assert.deepEqual([details.idempotency.store.status, details.idempotency.lock.status], ['up', 'degraded']);
  assert.equal((await fetch(`${b.url}/health/live`)).status, 204);
  await stage.redis.start();
});

test('the k6 script runs', async () => {
  const script = await loadK6(new URL('../k6/payments.js', import.meta.url).href, {
    URL: b.url,
    PROVIDER_URL: stage.provider,
    TOKEN: tokens.bob,
  });
  await script.setup();
  await Promise.all([script.default(), script.default(), script.default()]);
  const before = script.results.checks.length;
  await script.teardown();
  assert.equal(before, 6);
  assert.deepEqual(
    script.results.checks.filter(([, holds]) => !holds),
    [],
  );
  const { replays, differing_answers: differing, charged_twice: twice } = script.results.metrics;
  assert.equal(
    replays.reduce((sum, value) => sum + value),
    12,
  );
  assert.deepEqual([differing.filter(Boolean), twice], [[], []]);
  for (const name of Object.keys(script.options.thresholds).filter((name) => !/^(checks|http_)/.test(name))) {
    assert.ok(name in script.results.metrics, `${name} is no metric of the script`);
  }
});

const metricsText = async () => (await fetch(b.metrics)).text();

test('the service exposes every metric and label that the dashboard and the alerts use', async () => {
  const exposed = await metricsText();
  const dashboard = JSON.parse(read('grafana/dashboard.json'));
  const rules = parse(read('prometheus/rules.yml')).groups.flatMap((group) => group.rules);
  const targets = dashboard.panels.flatMap((panel) => panel.targets ?? []);
  const expressions = [...targets, ...rules].map(({ expr }) => expr);
  assert.ok(targets.length > 15 && rules.length > 15);

  const names = new Set(Array.from(exposed.matchAll(/^([a-z_]+)(?:\{| )/gm), ([, name]) => name));
  const labels = new Set(Array.from(exposed.matchAll(/[{,]([a-z_]+)="/g), ([, name]) => name));
  const byPrometheus = ['up', 'job', 'instance'];
  for (const expression of expressions) {
    const unknown = [
      ...metricsOf(expression).filter((name) => !names.has(name)),
      ...labelsOf(expression).filter((name) => !labels.has(name)),
    ].filter((name) => !byPrometheus.includes(name));
    assert.deepEqual(unknown, [], expression);
  }
  for (const { alert, annotations, labels: given } of rules) {
    assert.ok(annotations.summary && ['page', 'ticket'].includes(given.severity), alert);
  }
});

test('docker-compose.yml sets what the service reads, and mounts what is there', async () => {
  const { environment, readEnvironment } = await import('../dist/environment.js');
  assert.deepEqual(Object.keys(composeEnvironment).sort(), Object.keys(environment.shape).sort());
  const config = readEnvironment(environment, composeEnvironment);
  assert.throws(() => readEnvironment(environment, { ...composeEnvironment, JWT_SECRET: 'short' }), /JWT_SECRET/);

  for (const { volumes = [], depends_on: others = {} } of Object.values(compose.services)) {
    for (const volume of volumes.filter((volume) => volume.startsWith('.'))) {
      assert.ok(existsSync(join(root, volume.split(':')[0])), volume);
    }
    for (const other of Object.keys(others)) assert.ok(compose.services[other], other);
  }
  const [
    {
      dns_sd_configs: [scraped],
    },
  ] = parse(read('prometheus/prometheus.yml')).scrape_configs;
  assert.equal(scraped.port, config.METRICS_PORT);
  assert.match(read('nginx.conf'), new RegExp(`server app:${config.PORT} resolve`));
  const [, operators] = read('nginx.conf').split('location /idempotency {');
  assert.match(operators, /proxy_next_upstream off;/, "an operator's order is never sent twice");
  for (const name of Object.keys(environment.shape)) assert.ok(read('README.md').includes(`\`${name}\``), name);
});

test('an instance that is told to stop ends what it has begun, and has logged JSON without secrets', async () => {
  const order = await newOrder(b);
  await providerShall({ hold: ['/receipts'] });
  const running = post(b, '/payments', payment(order));
  await until('the receipt is sent', async () => (await carriedOut('/receipts', order)).length === 1);
  const exit = b.kill('SIGTERM');
  const dto = { description: 'too late', amount: 100, currency: 'EUR' };
  await until('it begins nothing new', async () => (await post(b, '/orders', dto)).status === 503);
  await providerShall({ hold: [] });
  assert.equal((await running).status, 201);
  assert.deepEqual(await exit, [0, null]);

  const lines = b.log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const messages = lines.map(({ msg }) => msg);
  assert.ok(messages.includes('takenOver') && messages.includes('held'), 'take-overs and held records are logged');
  assert.ok(!b.log.includes(tokens.alice) && !b.log.includes('tok_visa'));
});
