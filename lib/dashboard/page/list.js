/** The list of records: filters, pages, selection. The hash has the query: see route.js. */
import { explain, getRecords, isTransient } from './api.js';
import { openDialog } from './actions.js';
import { announce, byId, h, setText, show } from './dom.js';
import { number, plural, relativeTime, shortId } from './format.js';
import { listHref, recordHref } from './route.js';
import { ACTIONS, outcomeOf, stateOf, STATUSES } from './words.js';

const PAGE_SIZE = 50;
/** A phone shows each record on two lines, and a longer page would be tedious to scroll. */
const PHONE_PAGE_SIZE = 20;
/** Held records are counted up to this number: an exact count would read the whole table. */
const MAX_HELD = 100;
const RETRY_MS = 3_000;
/** A search for held records may read thousands of records, and each open page asks. */
const HELD_EVERY_MS = 15_000;
const WIDE = matchMedia('(min-width: 720px)');

/** @type {{ actions: boolean, operations: string[], maxBulk: number }} */
let info;
let query = {};
/** @type {any[]} */
let records = [];
/** The last response of the server. */
let page = null;
let isShown = false;
let loading = new AbortController();
let isLoading = false;
/** Cursors of the pages that the operator left by "Older", for "Newer". */
const trail = [];
const picked = new Set();
/** New records that are not shown yet, because the operator is at work in the list. */
let waiting = null;
let retry = 0;

export function setUpList(given) {
  info = given;
  byId('operations').replaceChildren(...info.operations.map((value) => h('option', { value })));
  byId('filter-form').addEventListener('submit', (event) => {
    event.preventDefault();
    applyFilters();
  });
  byId('pick-all').addEventListener('change', ({ target }) => {
    picked.clear();
    if (target.checked) for (const { id } of records.slice(0, info.maxBulk)) picked.add(id);
    showSelection();
  });
  byId('news').addEventListener('click', () => {
    const newer = waiting;
    byId('news').hidden = true;
    if (newer) showPage(newer);
    byId('records-title').focus();
  });
  byId('filter-key').addEventListener('input', showKeyHint);
  byId('filter-operation').addEventListener('input', showKeyHint);
  WIDE.addEventListener('change', () => (byId('filters').open ||= WIDE.matches));
  byId('older').addEventListener('click', () => trail.push(query.cursor ?? ''));
  byId('newer').addEventListener('click', () => trail.pop());
}

/** Shows the list that a route asks for. */
export async function openList(wanted) {
  const isOther = listHref(wanted) !== listHref(query) || page === null;
  isShown = true;
  byId('list-view').hidden = false;
  document.title = wanted.status ? `${wanted.status} · Idempotency records` : 'Idempotency records';
  if (!wanted.cursor) trail.length = 0;
  query = wanted;
  if (isOther) {
    picked.clear();
    page = null;
    waiting = null;
    byId('news').hidden = true;
  }
  showFilters();
  showSelection();
  await reload();
}

export function leaveList() {
  isShown = false;
  loading.abort();
  clearTimeout(retry);
  byId('list-view').hidden = true;
  byId('selection').hidden = true;
}

/** @param {{ gently?: boolean }} [options] `gently`: does not move rows that the operator is at work in */
export async function reload({ gently = false } = {}) {
  void showHeld(gently);
  if (!isShown) return;
  // An aborted search still runs on the server, so a gentle reload does not replace the one under way.
  if (gently && (page === null || isLoading)) return;
  loading.abort();
  const mine = (loading = new AbortController());
  isLoading = true;
  if (page === null) showState(h('p.loading', { role: 'status' }, 'Loading records…'));
  try {
    // A key or an id has at most one record.
    const limit = query.key || query.id ? undefined : WIDE.matches ? PAGE_SIZE : PHONE_PAGE_SIZE;
    const next = await getRecords({ ...query, limit }, mine.signal);
    if (mine.signal.aborted) return;
    if (gently && isAtWork() && !document.querySelector('.failure')) update(next);
    else showPage(next);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error.code === 'bad-cursor') {
      location.replace(listHref({ ...query, cursor: undefined }));
      return;
    }
    showError(error);
  } finally {
    if (loading === mine) isLoading = false;
  }
}

const isAtWork = () => picked.size > 0 || query.cursor !== undefined || byId('rows').contains(document.activeElement);

/** Updates the rows that are shown. New records wait behind a button. */
function update(next) {
  const byNewId = new Map(next.records.map((record) => [record.id, record]));
  const fresh = next.records.filter(({ id }) => !records.some((record) => record.id === id));
  const gone = records.filter(({ id }) => !byNewId.has(id));
  records = records.map((record) => byNewId.get(record.id) ?? record);
  showRows();
  if (fresh.length === 0 && gone.length === 0) return;
  waiting = next;
  const button = byId('news');
  setText(button, fresh.length > 0 ? `Show ${plural(fresh.length, 'newer record')}` : 'Records have changed: show');
  button.hidden = false;
}

function showPage(next) {
  page = next;
  waiting = null;
  byId('news').hidden = true;
  records = [...next.records];
  for (const id of picked) if (!records.some((record) => record.id === id)) picked.delete(id);
  const isEmpty = records.length === 0;
  byId('records').hidden = isEmpty;
  showState(isEmpty ? emptyState() : null);
  showRows();
  showPages();
  showSelection();
}

function showRows() {
  byId('records').toggleAttribute('data-actions', info.actions);
  show(
    byId('rows'),
    records.map((record) => ({ ...record, key: record.id })),
    row,
  );
}

function row(record) {
  const { state, label } = stateOf(record);
  const name = `${record.operation}, ${shortId(record.id)}`;
  const pick = h('input', { type: 'checkbox', 'aria-label': `Select ${name}`, data: { id: record.id } });
  pick.checked = picked.has(record.id);
  pick.addEventListener('change', () => {
    if (pick.checked) picked.add(record.id);
    else picked.delete(record.id);
    showSelection();
  });
  return h(
    'tr',
    { role: 'row', data: { state } },
    h('td.pick', { role: 'cell' }, h('label', null, pick)),
    h('td.is', { role: 'cell' }, h('span.badge', { data: { state } }, label)),
    h(
      'td.operation',
      { role: 'cell' },
      h('a', { href: recordHref(record.id) }, record.operation),
      record.route && h('small', null, record.route),
    ),
    h('td.id', { role: 'cell' }, h('code', { title: record.id }, shortId(record.id))),
    h('td.outcome', { role: 'cell', data: { none: record.responseCode === null ? '' : undefined } }, outcomeOf(record)),
    h(
      'td.number',
      {
        role: 'cell',
        data: { label: record.attempt === 1 ? 'attempt' : 'attempts', several: record.attempt > 1 ? '' : undefined },
      },
      number(record.attempt),
    ),
    h('td.at', { role: 'cell' }, relativeTime(record.createdAt)),
    h('td.ends', { role: 'cell' }, ends(record)),
  );
}

function ends(record) {
  if (record.status === 'held') return 'not while held';
  if (record.status !== 'processing') return record.expiresAt === null ? 'never' : relativeTime(record.expiresAt);
  return h('span', null, record.abandoned ? 'lease ended ' : 'lease ends ', relativeTime(record.leaseUntil));
}

function showPages() {
  const { cursor, partial, scanned, orderedBy } = page;
  const isFirst = !query.cursor;
  const isOldest = query.order === 'oldest';
  byId('pages').hidden = isFirst && cursor === null;
  const older = byId('older');
  setLink(older, cursor === null ? null : listHref({ ...query, cursor }));
  setText(older, partial ? 'Go on searching' : isOldest ? 'Newer' : 'Older');
  const back = trail.at(-1);
  const newer = byId('newer');
  setLink(newer, isFirst ? null : listHref({ ...query, cursor: back || undefined }));
  setText(newer, back === undefined && !isFirst ? 'First page' : isOldest ? 'Older' : 'Newer');
  const notes = [
    partial &&
      `Looked at ${plural(scanned, 'record')}: ${records.length === 0 ? 'none matches' : `${number(records.length)} match`} so far.`,
    orderedBy === 'expiry' && 'A large table: ordered by when records expire.',
    !partial && cursor === null && !isFirst && 'The last page.',
  ];
  setText(byId('page-note'), notes.filter(Boolean).join(' '));
}

/** @param {HTMLElement} link */
function setLink(link, href) {
  if (href === null) link.removeAttribute('href');
  else link.setAttribute('href', href);
  if (href === null) link.setAttribute('aria-disabled', 'true');
  else link.removeAttribute('aria-disabled');
  link.setAttribute('role', 'link');
}

function emptyState() {
  if (page.partial) return empty('Nothing so far', 'The table is large. Go on searching below.');
  if (query.key) {
    return empty(
      'No record has this key',
      'Operation, caller and host have to be those of the request: the key itself is not stored. It may also have expired, or never arrived.',
    );
  }
  if (query.cursor) return empty('No more records', 'This is the end of the list.');
  if (query.status === 'held') return empty('Nothing is held', 'No operation waits for a decision.');
  if (listHref(query) !== '#/') return empty('No record matches', 'Change or clear the filters.');
  return empty('No records yet', 'They appear when requests with an idempotency key arrive.');
}

const empty = (title, text) => h('div.empty', { role: 'status' }, h('b', null, title), h('p', null, text));

function showState(content) {
  byId('list-state').replaceChildren(...(content ? [content] : []));
}

function showError(error) {
  const { title, text } = explain(error);
  clearTimeout(retry);
  if (isTransient(error)) retry = setTimeout(() => void reload(), RETRY_MS);
  // An alert is announced each time that it is made.
  if (document.querySelector('.failure')?.dataset.text === text) return;
  const again = h('button', { type: 'button', onclick: () => void reload() }, 'Try again');
  showState(h('div.empty.failure', { role: 'alert', data: { text } }, h('b', null, title), h('p', null, text), again));
  // The last known records stay; the error above them says that they may be old.
  byId('records').hidden = records.length === 0 || page === null;
  byId('pages').hidden = page === null;
}

/* Filters */

function showFilters() {
  const form = byId('filter-form');
  for (const name of ['operation', 'scope', 'key']) form.elements[name].value = query[name] ?? '';
  const age = query.maxAge ? `maxAge=${query.maxAge}` : query.minAge ? `minAge=${query.minAge}` : '';
  const ages = form.elements.age;
  if (![...ages.options].some(({ value }) => value === age)) {
    ages.append(h('option', { value: age }, `${age.replace('Age=', '. age ')} s`));
  }
  ages.value = age;
  form.elements.order.value = query.order ?? '';
  const set = ['operation', 'scope', 'key', 'minAge', 'maxAge', 'order'].filter((name) => query[name]).length;
  setText(byId('filter-count'), set === 0 ? '' : `(${set})`);
  byId('filters').open ||= WIDE.matches || set > 0;
  byId('clear-filters').setAttribute('href', listHref({ status: query.status }));
  byId('tabs').replaceChildren(
    ...['', ...STATUSES].map((status) =>
      h(
        'li',
        null,
        h(
          'a',
          {
            href: listHref({ ...query, status, cursor: undefined, key: undefined }),
            'aria-current': (query.status ?? '') === status && 'page',
            data: { status },
          },
          status === '' ? 'All' : status[0].toUpperCase() + status.slice(1),
        ),
      ),
    ),
  );
  showKeyHint();
}

function applyFilters() {
  const { operation, scope, key, age, order } = byId('filter-form').elements;
  const [ageName, seconds] = age.value.split('=');
  const isKeyAlone = key.value !== '' && operation.value.trim() === '';
  if (isKeyAlone) {
    operation.setAttribute('aria-invalid', 'true');
    operation.focus();
    announce('A key is looked for together with its operation. Enter the operation.');
    return;
  }
  const next = listHref({
    status: key.value === '' ? query.status : undefined,
    operation: operation.value.trim(),
    scope: scope.value.trim(),
    // A key may begin or end with a space.
    key: key.value,
    ...(age.value !== '' && key.value === '' && { [ageName]: seconds }),
    order: key.value === '' ? order.value : undefined,
  });
  if (next === location.hash) void reload();
  else location.hash = next;
}

function showKeyHint() {
  const { key, operation } = byId('filter-form').elements;
  const isMissing = key.value !== '' && operation.value.trim() === '';
  byId('key-hint').toggleAttribute('data-wrong', isMissing);
  if (!isMissing) operation.removeAttribute('aria-invalid');
}

/* Held records: counted, and announced to screen readers */

let lastHeld = 0;
let heldAskedAt = -HELD_EVERY_MS;
let isAskingHeld = false;

/** Makes the next reload ask for held records, however soon it is. */
export function heldChanged() {
  heldAskedAt = -HELD_EVERY_MS;
}

/** @param {boolean} gently at most once in {@link HELD_EVERY_MS} */
async function showHeld(gently) {
  if (isAskingHeld) {
    if (!gently) heldChanged();
    return;
  }
  if (gently && performance.now() < heldAskedAt + HELD_EVERY_MS) return;
  isAskingHeld = true;
  heldAskedAt = performance.now();
  const section = byId('held');
  const found = await getRecords({ status: 'held', order: 'oldest', limit: MAX_HELD }).catch(() => null);
  isAskingHeld = false;
  if (found === null) return;
  const count = found.records.length;
  const isMore = found.cursor !== null;
  section.hidden = false;
  section.dataset.mood = count === 0 && !isMore ? 'calm' : 'alarm';
  const isUnsure = count === 0 && isMore;
  const title = isUnsure
    ? `None of ${plural(found.scanned, 'record')} is held, so far`
    : count === 0
      ? 'No operation is held'
      : `${isMore ? 'At least ' : ''}${plural(count, 'operation')} ${count === 1 && !isMore ? 'is' : 'are'} held`;
  setText(byId('held-title'), title);
  const oldest = count > 0 && relativeTime(found.records[0].createdAt);
  byId('held-text').replaceChildren(
    ...(count === 0
      ? [
          isUnsure
            ? 'The table is large. Open the list to go on searching.'
            : 'Every outcome is known, or is about to be.',
        ]
      : count === 1
        ? ['Its outcome is unknown and its client is refused until you decide. It was claimed ', oldest, '.']
        : [
            'Their outcome is unknown and their clients are refused until you decide. The oldest was claimed ',
            oldest,
            '.',
          ]),
  );
  byId('held-link').hidden = (count === 0 && !isUnsure) || query.status === 'held';
  const tab = document.querySelector('.tabs [data-status=held]');
  if (tab) tab.dataset.count = count === 0 ? '' : `${count}${isMore ? '+' : ''}`;
  if (count > lastHeld) announce(title);
  lastHeld = count;
}

/* Selection */

function showSelection() {
  for (const box of byId('rows').querySelectorAll('input')) box.checked = picked.has(box.dataset.id);
  const all = byId('pick-all');
  all.checked = picked.size > 0 && picked.size === Math.min(records.length, info.maxBulk);
  all.indeterminate = picked.size > 0 && !all.checked;
  const bar = byId('selection');
  bar.hidden = picked.size === 0 || !isShown;
  document.body.toggleAttribute('data-selection', !bar.hidden);
  if (bar.hidden) return;
  const chosen = records.filter(({ id }) => picked.has(id));
  setText(byId('selection-count'), `${plural(chosen.length, 'record')} selected`);
  const isSame = byId('selection-actions').childElementCount > 0;
  if (isSame) return;
  byId('selection-actions').replaceChildren(
    ...Object.entries(ACTIONS).map(([action, { label, risky }]) =>
      h(risky ? 'button.risky' : 'button', { type: 'button', onclick: () => void act(action) }, label),
    ),
    h('button.quiet', { type: 'button', onclick: clearSelection }, 'Clear'),
  );
}

async function act(action) {
  const chosen = records.filter(({ id }) => picked.has(id));
  const isChanged = await openDialog(action, chosen);
  if (!isChanged) return;
  clearSelection();
  await reload();
}

function clearSelection() {
  picked.clear();
  showSelection();
  byId('records-title').focus();
}
