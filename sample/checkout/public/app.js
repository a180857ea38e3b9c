import { byId, setText } from './dom.js';
import { addEvents, forgetEvents } from './events.js';
import { showLedgers, tick } from './ledgers.js';
import { Shop } from './shop.js';
import { setUpTheme } from './theme.js';
import { Troubles } from './troubles.js';
import { showVerdict } from './verdict.js';

let state;
/** The payment that was last begun: by a click on Pay, or by a trouble. */
let current;
let lastRun;

const shop = new Shop((payment) => {
  current = { payment };
  update();
});
const troubles = new Troubles(start);
const protection = byId('protection');

protection.addEventListener('change', showProtection);
byId('start-over').addEventListener('click', () => void startOver());
showProtection();
setUpTheme();
listen();
setInterval(tick, 100);

function listen() {
  const live = new EventSource('/stage/live');
  live.addEventListener('open', () => (byId('offline').hidden = true));
  live.addEventListener('error', () => (byId('offline').hidden = false));
  live.addEventListener('troubles', ({ data }) => troubles.list(JSON.parse(data)));
  live.addEventListener('happenings', ({ data }) => {
    forgetEvents();
    addEvents(JSON.parse(data));
  });
  live.addEventListener('happening', ({ data }) => addEvents([JSON.parse(data)]));
  live.addEventListener('state', ({ data }) => {
    state = JSON.parse(data);
    update();
  });
}

async function start(trouble) {
  const response = await fetch('/stage/troubles', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ trouble, items: shop.items, protection: protection.checked }),
  });
  if (!response.ok) throw new Error((await response.json()).message);
  byId('verdict').scrollIntoView({ block: 'nearest' });
}

/** The page as well: what it remembers is of payments that are gone. */
async function startOver() {
  if (byId('start-over').getAttribute('aria-disabled') === 'true') return;
  const response = await fetch('/stage/start-over', { method: 'POST' });
  if (response.ok) location.reload();
}

function update() {
  if (!state) return;
  const { run } = state;
  if (!state.protectionPossible && !protection.disabled) {
    // PROTECTION=off: there is no other checkout.
    protection.checked = false;
    protection.disabled = true;
    showProtection();
  }
  if (run && run.id !== lastRun) {
    lastRun = run.id;
    current = { run };
  }
  if (current?.run) current = run && { run };
  troubles.busy = run?.phase === 'running' ? run.trouble : undefined;
  shop.busy = run?.phase === 'running';
  byId('start-over').setAttribute('aria-disabled', String(run?.phase === 'running'));
  shop.update(state.products);
  showLedgers(state, current?.run ?? current?.payment);
  if (current) showVerdict(viewOf(current));
  tick();
}

/** A payment of this page looks like one of a trouble. */
function viewOf({ run, payment }) {
  const { card } = run ?? payment;
  const charges = state.ledger.newest.filter((entry) => entry.card === card);
  const orders = new Set(charges.map(({ reference }) => reference)).size;
  if (run) return { ...run, charges: Math.max(run.charges, charges.length), orders };
  const { key, protection: on, requests, answers, message } = payment;
  const settled = Object.values(answers).reduce((sum, n) => sum + n);
  return {
    id: key,
    title: 'Pay',
    protection: on,
    phase: settled < requests ? 'running' : 'done',
    story: [],
    requests,
    answers,
    charges: charges.length,
    orders,
    verdict: message || verdictOf(requests, charges.length),
  };
}

function verdictOf(requests, charges) {
  if (charges === 0) return 'The shop is asking the provider to charge.';
  if (requests === 1) return 'Click Pay again: it is the same payment, with the same key.';
  if (charges === 1)
    return 'One request ran the checkout. The others brought the same key, and were given what came of it.';
  return 'Nothing told a second click from a second order: each was charged.';
}

function showProtection() {
  const on = protection.checked;
  setText(byId('protection-state'), on ? 'on' : 'off');
  byId('unprotected-note').hidden = on;
  byId('code').setAttribute('href', on ? 'checkout.controller.ts' : 'unprotected-checkout.controller.ts');
  document.documentElement.toggleAttribute('data-unprotected', !on);
  shop.protection = on;
}
