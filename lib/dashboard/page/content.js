/** Requests, responses and results of steps, as text: nothing of them is ever parsed as markup. */
import { h } from './dom.js';
import { size } from './format.js';

const REDACTED = '"[redacted]"';
/** Tokens of indented JSON that have a colour: names of members, strings, and other literals. */
const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b/g;
/** The longest text with colours. Each coloured token is an element, and many of them make the page slow. */
const MAX_COLOURED = 40_000;

/**
 * @param {any} content as the server describes it
 * @param {string} label for screen readers
 */
export function contentView(content, label) {
  if (content === null) return h('p.hint', null, 'Empty.');
  switch (content.kind) {
    case 'json':
      return h('div.content', null, block(json(content.text), label), notes(content));
    case 'text':
      return h('div.content', null, block([content.text], label), notes(content));
    case 'binary':
      return h(
        'div.content',
        null,
        block([content.base64], `${label}, in base64`),
        notes(content, 'binary, in base64'),
      );
    case 'sealed':
      return h('p.withheld', null, h('b', null, 'Encrypted. '), content.reason);
    case 'withheld':
      return h('p.withheld', null, h('b', null, 'Withheld. '), `${content.reason} (${size(content.bytes)})`);
    default:
      return h('p.withheld', null, `Content of another kind: ${content.kind}`);
  }
}

export const isContent = (view) =>
  view !== null && ['json', 'text', 'binary', 'sealed', 'withheld'].includes(view.kind);

// It scrolls, so it has to be reachable by keyboard.
const block = (children, label) => h('pre', { tabindex: '0', role: 'region', 'aria-label': label }, ...children);

function notes({ bytes, redacted, truncated }, kind) {
  const parts = [
    kind,
    bytes !== undefined && size(bytes),
    truncated && 'cut off here',
    redacted && 'marked values were redacted and are not on record',
  ];
  return h('p.hint', null, parts.filter(Boolean).join(' · '));
}

/** @param {string} text */
function json(text) {
  if (text.length > MAX_COLOURED) return [text];
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [token, string, colon] = match;
    parts.push(text.slice(last, match.index));
    last = match.index + token.length;
    if (token === REDACTED) parts.push(h('span.redacted', null, 'redacted'));
    else if (colon !== undefined) parts.push(h('span.name', null, string), colon);
    else parts.push(h(string === undefined ? 'span.literal' : 'span.string', null, token));
  }
  return [...parts, text.slice(last)];
}
