import { byId } from './dom.js';

/** Says something to those who cannot see it. */
export function announce(text) {
  byId('announcer').textContent = text;
}
