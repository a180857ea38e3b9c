import { h, setText, svg } from './dom.js';
import { clock, number, plural } from './format.js';

const WIDTH = 240;
const HEIGHT = 40;
const GAP = 1;

/** The tiles. Counts that an operator should look into come first. */
const SERIES = [
  { name: 'failures', label: 'Failures', what: 'executions ended without an outcome on record, or were refused' },
  { name: 'takeOvers', label: 'Take-overs', what: 'claims took over from a process that died or paused' },
  { name: 'conflicts', label: 'Conflicts', what: 'duplicates were refused' },
  { name: 'replays', label: 'Replays', what: 'duplicates got the recorded answer' },
  { name: 'claims', label: 'Claims', what: 'requests ran the handler' },
];

/**
 * Draws a small column chart for each series, all over the same minutes. Each has its own scale: one take-over has to be visible
 * beside a thousand claims.
 *
 * @param {HTMLElement} list
 * @param {{ at: number }[]} buckets the oldest first, each with a count by the name of a series
 * @param {number} bucketMs
 */
export function showPlot(list, buckets, bucketMs) {
  list.replaceChildren(...SERIES.map((series) => tile(series, buckets, bucketMs)));
}

function tile({ name, label, what }, buckets, bucketMs) {
  const counts = buckets.map((bucket) => bucket[name] ?? 0);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const peak = Math.max(0, ...counts);
  const per = bucketMs === 60_000 ? 'a minute' : `in ${Math.round(bucketMs / 1_000)} s`;
  return h(
    'li.tile',
    { data: { series: name, quiet: total === 0 ? '' : undefined } },
    h('span.tile-label', { title: what }, label),
    h('b.tile-total', null, number(total)),
    h('span.tile-peak', null, peak === 0 ? 'none' : `peak ${number(peak)} ${per}`),
    chart(counts, buckets, peak, `${label}: ${plural(total, 'event')}, at most ${number(peak)} ${per}`),
  );
}

function chart(counts, buckets, peak, description) {
  const step = WIDTH / Math.max(1, counts.length);
  const columns = counts.map((count, index) => {
    const height = count === 0 ? 0 : Math.max(3, (count / peak) * (HEIGHT - 2));
    return (
      count > 0 &&
      svg(
        'rect',
        { x: index * step, y: HEIGHT - height, width: Math.max(1, step - GAP), height, rx: 0.8 },
        svg('title', null, `${clock(buckets[index].at)}: ${number(count)}`),
      )
    );
  });
  return svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': description },
    svg('path', { d: `M0 ${HEIGHT - 0.5}H${WIDTH}`, class: 'axis' }),
    ...columns,
  );
}

/** Shows the same numbers as a table, for screen readers and for exact values. */
export function showPlotTable(body, buckets) {
  const eventful = buckets.filter((bucket) => SERIES.some(({ name }) => bucket[name] > 0)).toReversed();
  body.replaceChildren(
    ...eventful.map((bucket) =>
      h(
        'tr',
        null,
        h('th', { scope: 'row' }, h('time', { datetime: new Date(bucket.at).toISOString() }, clock(bucket.at))),
        ...SERIES.map(({ name }) => h('td', null, number(bucket[name] ?? 0))),
      ),
    ),
  );
  setText(body.closest('table').caption, eventful.length === 0 ? 'No events in this time' : 'Events a minute');
}
