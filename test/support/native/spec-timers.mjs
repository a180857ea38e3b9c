import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const OWN = [`${ROOT}lib/`, `${ROOT}test/`];
const NATIVE = `${ROOT}test/support/native/`;
const NAMES = /** @type {const} */ (['setTimeout', 'setInterval']);
/** How many timers are remembered before those that have ended are forgotten. */
const FORGET_AT = 1_000;

/**
 * Remembers the timers that `lib` and the tests set from now on, and returns a function that clears those that are left. A spec file
 * may leave some, such as the deadline of a statement that it never answers. One that fires during another file's test sets its next
 * one among the fake timers there, and is counted with them.
 */
export function watchTimers() {
  /** @type {Set<NodeJS.Timeout>} */
  const set = new Set();
  const originals = NAMES.map(
    (name) => /** @type {const} */ ([name, Object.getOwnPropertyDescriptor(globalThis, name)]),
  );
  for (const name of NAMES) {
    const original = globalThis[name];
    /** @param {Parameters<typeof setTimeout>} given */
    const watched = (...given) => {
      const timer = original(...given);
      if (isOurs(new Error().stack)) set.add(timer);
      if (set.size > FORGET_AT) for (const one of set) if (hasEnded(one)) set.delete(one);
      return timer;
    };
    // Among them util.promisify.custom.
    Object.defineProperties(watched, Object.getOwnPropertyDescriptors(original));
    Reflect.set(globalThis, name, watched);
  }
  return () => {
    for (const [name, original] of originals) Object.defineProperty(globalThis, name, original ?? {});
    for (const timer of set) clearTimeout(timer);
  };
}

/** Jest's reporter sets timers in this process, too, with `--runInBand`. @param {string | undefined} stack */
const isOurs = (stack = '') =>
  stack.split('\n').some((line) => OWN.some((folder) => line.includes(folder)) && !line.includes(NATIVE));

/** @param {NodeJS.Timeout} timer */
const hasEnded = (timer) => Reflect.get(timer, '_destroyed') === true;
