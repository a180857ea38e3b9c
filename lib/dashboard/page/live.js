/**
 * Live updates by server-sent events.
 *
 * - `connecting`: no stream yet. Left by `hello`, or by an error.
 * - `live`: ticks arrive. Left by an error.
 * - `reconnecting`: the stream broke, and EventSource or our timer tries again. Left by `hello`.
 */
import { byId, setText } from './dom.js';

/** EventSource itself gives up after a response that is no stream, such as 503 for too many pages or a guard's 401. */
const RETRY_MS = 15_000;

const STATES = {
  connecting: 'Connecting…',
  live: 'Live',
  reconnecting: 'Reconnecting…',
};

/**
 * @param {{ onHello: () => void, onTick: (tick: any) => void }} listener `onHello`: the page may be out of date
 */
export function listen({ onHello, onTick }) {
  showState('connecting');
  connect();

  function connect() {
    const source = new EventSource('api/events');
    source.addEventListener('hello', () => {
      showState('live');
      onHello();
    });
    source.addEventListener('tick', ({ data }) => onTick(JSON.parse(data)));
    source.addEventListener('error', () => {
      showState('reconnecting');
      if (source.readyState !== EventSource.CLOSED) return;
      source.close();
      setTimeout(() => {
        onHello();
        connect();
      }, RETRY_MS);
    });
    addEventListener('pagehide', () => source.close(), { once: true });
  }
}

/** @param {keyof typeof STATES} state */
function showState(state) {
  const element = byId('connection');
  element.dataset.state = state;
  setText(element.querySelector('.connection-text'), STATES[state]);
}
