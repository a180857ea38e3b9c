/** One record: what happened, what the operator can do, and what is stored. */
import { openDialog } from './actions.js';
import { explain, getRecord, isTransient } from './api.js';
import { contentView, isContent } from './content.js';
import { byId, h } from './dom.js';
import { absoluteTime, length, relativeTime } from './format.js';
import { listHref } from './route.js';
import { ACTIONS, advice, entryWords, stateOf, story } from './words.js';

const RETRY_MS = 3_000;

let info;
let shownId = null;
let lastLooks = '';
let retry = 0;
let loading = new AbortController();
/** The list that the record was opened from. */
let cameFrom = listHref({});

export function setUpRecord(given) {
  info = given;
}

export async function openRecord(id, backHref) {
  if (backHref) cameFrom = backHref;
  shownId = id;
  lastLooks = '';
  const view = byId('record-view');
  view.hidden = false;
  document.title = `${id.slice(0, 8)} · Idempotency records`;
  view.replaceChildren(back(), h('p.loading', { role: 'status' }, 'Loading the record…'));
  await reloadRecord();
  // As after a navigation: the focus and the scroll position are at the top.
  if (shownId === id) view.querySelector('h1')?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

export function leaveRecord() {
  shownId = null;
  loading.abort();
  byId('record-view').hidden = true;
}

/** @param {string[]} [ids] only if the record is one of these */
export async function reloadRecord(ids) {
  if (shownId === null || (ids && !ids.includes(shownId))) return;
  loading.abort();
  const mine = (loading = new AbortController());
  const view = byId('record-view');
  try {
    const record = await getRecord(shownId, mine.signal);
    const looks = JSON.stringify(record);
    if (mine.signal.aborted || looks === lastLooks) return;
    lastLooks = looks;
    const focused = view.contains(document.activeElement) ? document.activeElement.id : '';
    view.replaceChildren(back(), ...recordView(record));
    if (focused) byId(focused)?.focus({ preventScroll: true });
  } catch (error) {
    if (mine.signal.aborted) return;
    lastLooks = '';
    const { title, text } = explain(error);
    clearTimeout(retry);
    if (isTransient(error)) retry = setTimeout(() => void reloadRecord(), RETRY_MS);
    if (view.querySelector('.failure')?.dataset.text === text) return;
    view.replaceChildren(
      back(),
      h(
        'div.empty.failure',
        { role: 'alert', data: { text } },
        h('h1', { tabindex: '-1', id: 'record-title' }, title),
        h('p', null, text),
      ),
    );
  }
}

const back = () => h('nav.back', { 'aria-label': 'Back' }, h('a', { href: cameFrom, id: 'back' }, '← Records'));

function recordView(record) {
  const { state, label } = stateOf(record);
  return [
    h(
      'div.record-head',
      null,
      h(
        'h1',
        { tabindex: '-1', id: 'record-title' },
        record.operation,
        ' ',
        h('span.badge', { data: { state } }, label),
      ),
      h('p.record-id', null, record.route && `${record.route} · `, h('code', null, record.id), copyButton(record.id)),
    ),
    decision(record),
    h(
      'div.columns',
      null,
      h(
        'section.panel',
        { 'aria-labelledby': 'timeline-title' },
        h('h2', { id: 'timeline-title' }, 'Timeline'),
        h('ol.timeline', null, ...record.timeline.map((entry) => timelineEntry(entry, record))),
      ),
      h(
        'div.stack',
        null,
        h(
          'section.panel',
          { 'aria-labelledby': 'request-title' },
          h('h2', { id: 'request-title' }, 'Request'),
          ...requestView(record.request),
        ),
        h(
          'section.panel',
          { 'aria-labelledby': 'response-title' },
          h('h2', { id: 'response-title' }, 'Response'),
          ...responseView(record),
        ),
        facts(record),
      ),
    ),
  ];
}

function copyButton(id) {
  // Browsers have a clipboard only over HTTPS and on localhost.
  if (!navigator.clipboard) return null;
  const button = h('button.quiet.small', { type: 'button', id: 'copy-id' }, 'Copy id');
  const say = (text) => (button.textContent = text);
  button.addEventListener('click', () => {
    navigator.clipboard.writeText(id).then(
      () => say('Copied'),
      () => say('The browser refused'),
    );
    setTimeout(() => say('Copy id'), 2_000);
  });
  return button;
}

function decision(record) {
  const [what, so] = story(record);
  const isHeld = record.status === 'held';
  return h(
    'section.decision',
    { 'aria-labelledby': 'decision-title', data: { mood: isHeld ? 'alarm' : record.abandoned ? 'warn' : 'calm' } },
    h('h2', { id: 'decision-title' }, what),
    h('p', null, so),
    isHeld && h('ul.advice', null, ...advice(record).map((line) => h('li', null, line))),
    record.actions.length > 0 ? choices(record) : whyNot(isHeld),
  );
}

function whyNot(isHeld) {
  if (info.actions) return null;
  return h(
    'p.read-only',
    null,
    'This page is read-only: its module was set up without ',
    h('code', null, 'actions: true'),
    isHeld && '. On the command line, nestjs-idempotency resolve settles the record',
    '.',
  );
}

function choices(record) {
  return h(
    'ul.choices',
    { data: { count: record.actions.length } },
    ...record.actions.map((action) => {
      const { when, does, label, risky } = ACTIONS[action];
      return h(
        'li',
        null,
        h('h3', { id: `when-${action}` }, record.status === 'held' ? when : label.replace('…', '')),
        h('p', { id: `does-${action}` }, does),
        h(
          risky ? 'button.risky' : 'button.primary',
          {
            type: 'button',
            id: `do-${action}`,
            'aria-describedby': `does-${action}`,
            onclick: () => void act(action, record),
          },
          label,
        ),
      );
    }),
  );
}

async function act(action, record) {
  const isChanged = await openDialog(action, [record]);
  if (!isChanged) return;
  await reloadRecord();
  byId('record-title')?.focus({ preventScroll: true });
}

function timelineEntry(entry, record) {
  const { title, text } = entryWords(entry, record);
  const tone = entry.kind === 'step' ? entry.status : entry.kind;
  return h(
    'li',
    { data: { kind: entry.kind, tone, future: entry.past === false ? '' : undefined } },
    h('b', null, title),
    h(
      'span.entry-at',
      null,
      ...(entry.at === null ? ['time unknown'] : [absoluteTime(entry.at, true), relativeTime(entry.at)]),
      entry.source === 'memory' &&
        h(
          'span.memory',
          { title: 'Not in the table. This process forgets it when it restarts.' },
          'seen by this process',
        ),
    ),
    text && h('p', null, text),
    entry.kind === 'step' &&
      entry.result &&
      h('details', null, h('summary', null, 'Result'), contentView(entry.result, `Result of ${entry.name}`)),
  );
}

function requestView(request) {
  if (request === null) return [h('p.hint', null, 'Nothing of the request was kept (option request.store).')];
  if (isContent(request)) return [contentView(request, 'Request')];
  const line = [request.method, request.path].filter(Boolean).join(' ');
  return [
    line !== '' &&
      h('p.http-line', null, h('code', null, line), request.host && h('small', null, ` at ${request.host}`)),
    contentView(request.body, 'Body of the request'),
  ].filter(Boolean);
}

function responseView({ response, status }) {
  if (response === null) {
    const text = { held: 'Unknown: see above.', processing: 'None yet.', failed: 'None: the key was freed.' }[status];
    return [h('p.hint', null, text ?? 'Nothing was kept.')];
  }
  if (isContent(response)) return [contentView(response, 'Response')];
  if (response.kind === 'none') return [h('p.hint', null, 'The operation has ended, but its answer was not kept.')];
  const line = { http: `HTTP ${response.status}`, value: 'A value', error: 'An error' }[response.kind];
  return [
    h('p.http-line', null, h('code', null, line)),
    response.headers.length > 0 &&
      h(
        'dl.headers',
        null,
        ...response.headers.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))),
      ),
    contentView(response.body, 'Body of the response'),
  ].filter(Boolean);
}

function facts(record) {
  const rows = [
    ['Attempts', String(record.attempt)],
    ['Fencing token', String(record.token)],
    ['After a crash', record.holdOnCrash ? 'held for an operator' : 'the next retry takes over'],
    ['Kept for', `${length(record.retentionMs)} after completion`],
    record.awaited && ['Waiting', 'a request waits for the outcome'],
    record.takenFrom === 'processing' && ['Taken over', 'from an owner that fell silent'],
  ].filter(Boolean);
  return h(
    'section.panel',
    { 'aria-labelledby': 'facts-title' },
    h('h2', { id: 'facts-title' }, 'Record'),
    h('dl.facts', null, ...rows.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
  );
}
