import { announce } from './announcer.js';
import { byId, h, setText, show } from './dom.js';
import { plural } from './format.js';

/**
 * What came of a payment, in one number and a few sentences.
 *
 * @param {{ id: string, title: string, protection: boolean, phase: string, story: string[], requests: number,
 *   answers: Record<'paid' | 'replayed' | 'refused' | 'failed' | 'lost', number>, charges: number, orders: number,
 *   verdict?: string }} run
 */
export function showVerdict(run) {
  const { charges, phase, requests, answers } = run;
  const verdict = byId('verdict');
  Object.assign(verdict.dataset, { mood: moodOf(run), run: run.id, phase });
  setText(byId('charges'), String(charges));
  setText(byId('charges-unit'), charges === 1 ? 'charge' : 'charges');
  setText(byId('run-title'), `${run.title}, protection ${run.protection ? 'on' : 'off'}`);
  setText(byId('run-verdict'), run.verdict ?? run.story.at(-1) ?? 'It begins…');
  show(byId('counts'), countsOf(requests, answers, run.orders), ({ key, n, one = key }) =>
    h('div', { data: { zero: n === 0 ? '' : 'no' } }, h('dt', null, n === 1 ? one : key), h('dd', null, n)),
  );
  show(
    byId('story'),
    run.story.map((text, n) => ({ key: `${run.id}-${n}`, text })),
    ({ text }) => h('li', null, text),
  );
  tell(run, phase);
}

function moodOf({ charges, phase }) {
  if (charges > 1) return 'twice';
  if (phase === 'running') return 'running';
  return charges === 1 ? 'once' : 'idle';
}

function countsOf(requests, { paid, replayed, refused, failed, lost }, orders) {
  return [
    { key: 'requests', n: requests, one: 'request' },
    { key: 'told “paid”', n: paid },
    { key: 'replayed', n: replayed },
    { key: 'refused', n: refused },
    { key: 'failed', n: failed },
    { key: 'unanswered', n: lost },
    { key: 'orders', n: orders, one: 'order' },
  ];
}

let told = '';

/** Each sentence once, and the outcome with its number. */
function tell({ id, story, charges, verdict }, phase) {
  const sentence = phase === 'running' ? story.at(-1) : `${plural(charges, 'charge')}. ${verdict}`;
  if (!sentence || told === id + sentence) return;
  told = id + sentence;
  announce(sentence);
}
