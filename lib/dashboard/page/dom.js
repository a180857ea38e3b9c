/**
 * Creates an element. Children are added as text, never as markup: keys and bodies come from clients, and a body with a
 * `<script>` has to be shown, not run.
 *
 * @param {string} tag such as `p.hint`
 * @param {Record<string, any> | null} [properties] attributes; `on…` for listeners, `data` for data attributes
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, properties, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(' ');
  setProperties(element, properties ?? {});
  element.append(...children.filter((child) => child || child === 0));
  return element;
}

/** As {@link h}, for SVG. */
export function svg(tag, properties, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  setProperties(element, properties ?? {});
  element.append(...children.filter(Boolean));
  return element;
}

function setProperties(element, properties) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false || value === null) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'data') setData(element, value);
    else element.setAttribute(key, value === true ? '' : value);
  }
}

function setData(element, data) {
  for (const [name, value] of Object.entries(data)) if (value !== undefined) element.dataset[name] = value;
}

export const byId = (id) => document.getElementById(id);

/** Sets a text only if it differs, because a live region announces every write. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Shows a list and replaces only the children whose data changed, so that an update keeps the focus, the selection and the
 * scroll position.
 *
 * @template {{ key: string }} T
 * @param {Element} list
 * @param {T[]} items
 * @param {(item: T) => HTMLElement} render
 */
export function show(list, items, render) {
  const before = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const children = items.map((item) => {
    const looks = JSON.stringify(item);
    const old = before.get(item.key);
    if (old?.dataset.looks === looks) return old;
    const child = render(item);
    child.dataset.key = item.key;
    child.dataset.looks = looks;
    return child;
  });
  const focused = document.activeElement;
  const focusedRow = focused && [...list.children].find((child) => child.contains(focused));
  const place = focusedRow && [...focusedRow.querySelectorAll('a, button, input')].indexOf(focused);
  list.replaceChildren(...children);
  if (!focusedRow) return;
  const row = children.find((child) => child.dataset.key === focusedRow.dataset.key);
  row?.querySelectorAll('a, button, input')[place]?.focus({ preventScroll: true });
}

/** Announces a text to screen readers, once. */
export function announce(text) {
  const region = byId('announcer');
  // The same text twice is announced twice only if the region was empty in between.
  region.textContent = '';
  setTimeout(() => (region.textContent = text), 30);
}
