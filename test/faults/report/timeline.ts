import { History } from '../check/history.js';
import type { Violation } from '../check/violation.js';
import type { Entry } from '../history/entry.js';

const WIDTH = 1_400;
const LEFT = 110;
const LANE = 26;
const COLOURS: Partial<Record<Entry['kind'], string>> = {
  ask: '#999',
  answer: '#06c',
  lost: '#c60',
  claimed: '#090',
  renewed: '#9c9',
  completed: '#060',
  began: '#639',
  effect: '#c00',
  charge: '#c00',
  resolved: '#960',
};

/** An HTML page with a drawing for each operation that breaks a guarantee: who did what, when, and what went wrong. */
export function timelineOf(entries: readonly Entry[], violations: readonly Violation[]): string {
  const history = new History(entries);
  const ops = [...new Set(violations.flatMap(({ op }) => op ?? []))];
  const drawings = ops.slice(0, 20).map((op) => {
    const operation = history.operations.find((one) => one.op === op)!;
    const seen = violations.filter((violation) => violation.op === op);
    const words = seen.map(({ guarantee, detail }) => `<li><b>${guarantee}</b>: ${escape(detail)}</li>`).join('');
    return `<h2>${escape(op)}</h2><ul>${words}</ul>${draw(history.story(operation), history)}`;
  });
  return `<!doctype html><meta charset="utf-8"><title>Violations</title>
<style>body{font:13px sans-serif}text{font:11px sans-serif}</style>${drawings.join('\n')}`;
}

function draw(story: readonly Entry[], history: History): string {
  const timed = story.filter((entry) => entry.kind !== 'row' && entry.kind !== 'final record');
  const from = Math.min(...timed.map(({ at }) => at)) - 50;
  const to = Math.max(...timed.map(({ at }) => at)) + 50;
  const x = (at: number) => LEFT + ((at - from) / (to - from)) * (WIDTH - LEFT);
  const lanes = [...new Set(timed.map(({ who }) => who))].sort();
  const height = (lanes.length + 1) * LANE + 10;
  const y = (who: string) => (lanes.indexOf(who) + 1) * LANE;
  const faults = history.faults
    .filter((fault) => fault.end > from && fault.at < to)
    .map((fault) => {
      const start = x(Math.max(fault.at, from));
      const width = Math.max(2, x(Math.min(fault.end, to)) - start);
      const title = escape(`${fault.fault}: ${fault.on}`);
      return `<rect x="${start}" y="0" width="${width}" height="${height}" fill="#f80" opacity=".12"><title>${title}</title></rect>
<text x="${start + 2}" y="10" fill="#a50">${title}</text>`;
    });
  const names = lanes.map(
    (who) => `<text x="2" y="${y(who) + 4}">${escape(who)}</text>
<line x1="${LEFT}" x2="${WIDTH}" y1="${y(who)}" y2="${y(who)}" stroke="#ddd"/>`,
  );
  const marks = timed.map((entry) => {
    const token = 'token' in entry ? ` ${entry.token}` : '';
    const title = escape(`${(entry.at - from).toFixed(1)} ms ${JSON.stringify(entry)}`);
    return `<g><circle cx="${x(entry.at)}" cy="${y(entry.who)}" r="4" fill="${COLOURS[entry.kind] ?? '#555'}"/>
<text x="${x(entry.at) + 5}" y="${y(entry.who) - 4}" transform="rotate(-20 ${x(entry.at) + 5} ${y(entry.who) - 4})">${entry.kind}${token}</text><title>${title}</title></g>`;
  });
  return `<svg width="${WIDTH}" height="${height}" viewBox="0 -10 ${WIDTH} ${height + 10}">${[...faults, ...names, ...marks].join('\n')}</svg>
<p>${((to - from) / 1_000).toFixed(2)} s</p>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
