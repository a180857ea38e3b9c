/** Starts the page: rights of the operator, the view that the hash names, and live updates. */
import { explain, getActivity, getInfo, isTransient } from './api.js';
import { byId, h } from './dom.js';
import { now, refreshTimes, relativeTime, setClock } from './format.js';
import { heldChanged, leaveList, openList, reload, setUpList } from './list.js';
import { listen } from './live.js';
import { showPlot, showPlotTable } from './plot.js';
import { leaveRecord, openRecord, reloadRecord, setUpRecord } from './record.js';
import { currentRoute, listHref } from './route.js';

const RETRY_MS = 3_000;
/** A busy process ticks each second. Each reload of the list is a query. */
const LIST_EVERY_MS = 2_000;
/** Events come from one process only. Changes by others, and by a process that crashes, are found by polling. */
const ASK_EVERY_MS = 10_000;
const PLOT_MINUTES = 60;
const MINUTE = 60_000;
/** Changes of the number of held records. */
const HELD_CHANGES = ['held', 'resolved', 'released', 'forgotten'];
const COUNTED = ['claims', 'replays', 'conflicts', 'takeOvers', 'failures'];

/** @type {Map<number, any>} counts, by the time when their bucket begins */
const buckets = new Map();
let listDue = 0;
let listShownAt = -LIST_EVERY_MS;

void start();

async function start() {
  let info;
  try {
    info = await getInfo();
  } catch (error) {
    const { title, text } = explain(error);
    const trouble = byId('trouble');
    trouble.textContent = `${title}. ${text}`;
    trouble.hidden = false;
    byId('list-view').hidden = true;
    if (isTransient(error)) setTimeout(() => void start(), RETRY_MS);
    return;
  }
  byId('trouble').hidden = true;
  setClock(info.now);
  showInfo(info);
  setUpList(info);
  setUpRecord(info);
  addEventListener('hashchange', () => void showRoute());
  byId('skip').addEventListener('click', (event) => {
    event.preventDefault();
    byId(currentRoute().view === 'list' ? 'records-title' : 'record-title')?.focus();
  });
  listen({ onHello: () => void refresh(), onTick });
  setInterval(() => {
    refreshTimes();
    draw();
    if (document.hidden) return;
    scheduleList();
    void reloadRecord();
  }, ASK_EVERY_MS);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) void refresh();
  });
  await showRoute();
}

function showInfo({ actions, actor, version }) {
  const mode = byId('mode');
  mode.hidden = actions;
  mode.textContent = 'Read-only';
  mode.title = 'The module was set up without actions: true';
  byId('who').hidden = actor === null;
  byId('who').textContent = actor ?? '';
  byId('about').replaceChildren(
    `nestjs-idempotency ${version}. Times are those of this browser. `,
    ...(actions
      ? []
      : ['This page is read-only: its module was set up without ', h('code', null, 'actions: true'), '.']),
  );
}

let lastListHref = listHref({});

async function showRoute() {
  const route = currentRoute();
  if (route.view === 'record') {
    leaveList();
    await openRecord(route.id, lastListHref);
    return;
  }
  const isReturn = !byId('record-view').hidden;
  leaveRecord();
  lastListHref = listHref(route.query);
  await openList(route.query);
  if (isReturn) byId('records-title').focus({ preventScroll: true });
}

/** After a (re)connection: everything may have changed. */
async function refresh() {
  heldChanged();
  await Promise.all([refreshActivity(), reload({ gently: true }), reloadRecord()]);
}

async function refreshActivity() {
  try {
    const activity = await getActivity();
    buckets.clear();
    count(activity.buckets);
    byId('activity-note').replaceChildren(
      'What this one process saw since it started ',
      relativeTime(activity.since),
      '. It is kept in memory: a restart forgets it.',
    );
    draw();
  } catch {
    // The list shows the error.
  }
}

function onTick({ now: serverNow, buckets: changed, records, more }) {
  setClock(serverNow);
  count(changed);
  draw();
  const ids = records.map(({ id }) => id);
  if (records.some(({ type }) => HELD_CHANGES.includes(type))) heldChanged();
  if (!document.hidden) void reloadRecord(more > 0 ? undefined : ids);
  if (records.length > 0) scheduleList();
}

/** At once, and then not more often than {@link LIST_EVERY_MS}. */
function scheduleList() {
  if (listDue) return;
  const wait = Math.max(0, listShownAt + LIST_EVERY_MS - performance.now());
  listDue = setTimeout(() => {
    listDue = 0;
    listShownAt = performance.now();
    // A hidden page is refreshed when it becomes visible: see `visibilitychange`.
    if (!document.hidden) void reload({ gently: true });
  }, wait);
}

function count(changed) {
  for (const bucket of changed) buckets.set(Date.parse(bucket.at), bucket);
}

/** Adds buckets up to minutes: the columns of ten seconds would be too narrow. */
function draw() {
  const last = Math.floor(now() / MINUTE) * MINUTE;
  const first = last - (PLOT_MINUTES - 1) * MINUTE;
  const minutes = Array.from({ length: PLOT_MINUTES }, (_, index) => ({ at: first + index * MINUTE }));
  for (const [at, bucket] of buckets) {
    if (at < first) {
      buckets.delete(at);
      continue;
    }
    const minute = minutes[Math.min(PLOT_MINUTES - 1, Math.floor((at - first) / MINUTE))];
    for (const name of COUNTED) minute[name] = (minute[name] ?? 0) + bucket[name];
  }
  showPlot(byId('tiles'), minutes, MINUTE);
  showPlotTable(byId('plot-rows'), minutes);
}
