import { byId, h, show } from './dom.js';
import { short, time } from './format.js';

const KEPT = 100;
/** Events that say the same within so many milliseconds are one entry: fifty replays are no news. */
const SAME_WITHIN = 1_500;

/** @type {{ key: number, at: number, source: string, type: string, text: string, recordId?: string, times: number }[]} */
let entries = [];
let due = false;

export function addEvents(happenings) {
  for (const happening of happenings) add(happening);
  if (due) return;
  due = true;
  // Fifty in a moment are shown at once.
  setTimeout(() => {
    due = false;
    showEvents();
  }, 50);
}

export function forgetEvents() {
  entries = [];
}

function add({ id, ...happening }) {
  const same = entries.find(
    (entry) =>
      happening.at - entry.at < SAME_WITHIN &&
      entry.source === happening.source &&
      entry.text === happening.text &&
      entry.recordId === happening.recordId,
  );
  if (same) same.times++;
  else entries.unshift({ key: id, ...happening, times: 1 });
  entries.length = Math.min(entries.length, KEPT);
}

function showEvents() {
  show(byId('events'), entries, ({ at, source, type, text, recordId, times }) =>
    h(
      'li',
      { data: { source, type } },
      h(
        'span.event-head',
        null,
        h('b.source', null, source),
        type !== 'said' && h('span.badge', { data: { event: type } }, type),
        times > 1 && h('span.times', null, `×${times}`),
        recordId && h('code', { title: recordId }, short(recordId)),
        h('time', null, time(at)),
      ),
      h('span.event-text', null, text),
    ),
  );
}
