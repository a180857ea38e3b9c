import { byId, h, setText, show } from './dom.js';
import { duration, money, short } from './format.js';

/** Shows what the shops, the provider and the database hold. What belongs to the payment at hand stands out. */
/** @param {{ card: string, protection: boolean } | undefined} payment */
export function showLedgers({ records, orders, ledger, lease, shops, redis, provider }, payment) {
  const card = payment?.card;
  const mine = new Set(ledger.newest.filter((entry) => entry.card === card).map(({ reference }) => reference));
  showProcesses(shops, redis, provider);
  showRecords(records, card, lease, payment?.protection === false);
  showCharges(ledger, card);
  showOrders(orders, mine);
}

function showProcesses(shops, redis, provider) {
  const processes = [
    ...shops.map(({ name, state, pid }) => ({ key: name, state, pid })),
    { key: 'provider', state: provider.mode === 'ok' ? 'running' : provider.mode },
    { key: 'redis', state: redis.state },
  ];
  show(byId('processes'), processes, ({ key, state, pid }) =>
    h('li', { data: { state }, title: pid && `process ${pid}` }, h('span.dot', null), `${key} `, h('b', null, state)),
  );
}

function showRecords(records, card, lease, unprotected) {
  const items = records.map((record) => ({ ...record, key: record.id, mine: record.card === card, lease }));
  show(
    byId('records'),
    items.toSorted((a, b) => b.mine - a.mine),
    renderRecord,
  );
  byId('no-record').hidden = !unprotected || items.some(({ mine }) => mine);
  empty('records', items, 'No key has been seen yet.');
}

function renderRecord({ id, status, attempt, token, leaseUntil, expiresAt, responseCode, steps, mine, lease }) {
  const until = status === 'processing' ? leaseUntil : expiresAt;
  return h(
    'li.record',
    { data: { status, mine: mine ? '' : 'no' } },
    h(
      'p.record-head',
      null,
      h('span.badge', { data: { status } }, status),
      h('code', { title: id }, short(id)),
      mine && h('span.mine', null, 'this payment'),
    ),
    status === 'processing' &&
      h('span.lease', {
        'aria-hidden': 'true',
        data: { lease: Date.parse(leaseUntil), of: parseFloat(lease) * 1_000 },
      }),
    h(
      'dl.facts',
      null,
      fact('attempt', attempt),
      fact('fencing token', token),
      responseCode !== null && fact('answer', responseCode),
      fact(
        status === 'processing' ? 'lease' : 'expires in',
        h('span', { data: { until: Date.parse(until), ended: 'run out' } }),
      ),
    ),
    h('ol.steps', { 'aria-label': 'Steps' }, ...steps.map(renderStep)),
  );
}

function renderStep({ name, status, token }) {
  return h('li', { data: { status } }, name, h('small', null, `${status}, token ${token}`));
}

function fact(name, value) {
  return h('div', null, h('dt', null, name), h('dd', null, value));
}

function showCharges({ total, newest }, card) {
  setText(byId('ledger-total'), String(total));
  const charges = newest.map(({ id, amount, status, card: of, reference }, n) => ({
    key: id,
    amount,
    status,
    reference,
    mine: of === card,
    again: newest.slice(n + 1).some((older) => older.card === of),
  }));
  show(byId('ledger'), charges, ({ key, amount, status, reference, mine, again }) =>
    h(
      'li',
      { data: { mine: mine ? '' : 'no', again: again ? '' : 'no' } },
      h('span.number.amount', null, money(amount)),
      h(
        'span.badge',
        { data: { status: again ? 'again' : status } },
        again ? 'charged again' : status === 'succeeded' ? 'charged' : status,
      ),
      h('span.what', null, h('code', null, key), h('small', null, `for ${short(reference)}`)),
    ),
  );
  empty('ledger', charges, 'Nobody has been charged yet.');
}

function showOrders({ total, newest }, mine) {
  setText(byId('orders-total'), String(total));
  const orders = newest.map(({ id, status, total: amount, chargeId }) => ({
    key: id,
    status,
    amount,
    chargeId,
    mine: mine.has(id),
  }));
  show(byId('orders'), orders, ({ key, status, amount, chargeId, mine: isMine }) =>
    h(
      'li',
      { data: { mine: isMine ? '' : 'no' } },
      h('span.number.amount', null, money(amount)),
      h('span.badge', { data: { status } }, status),
      h('span.what', null, h('code', null, short(key)), h('small', null, chargeId ?? 'no charge yet')),
    ),
  );
  empty('orders', orders, 'Nothing has been ordered yet.');
}

function empty(id, items, text) {
  if (items.length === 0) show(byId(id), [{ key: 'empty', text }], () => h('li.empty', null, text));
}

/** Counts down what is shown. */
export function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll('[data-until]')) {
    const left = Number(element.dataset.until) - now;
    setText(element, left > 0 ? duration(left) : element.dataset.ended);
  }
  for (const element of document.querySelectorAll('[data-lease]')) {
    const share = (Number(element.dataset.lease) - now) / Number(element.dataset.of);
    element.style.setProperty('--left', String(Math.min(1, Math.max(0, share))));
  }
}
