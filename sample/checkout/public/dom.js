/**
 * Makes an element. Text is set as text, never as markup.
 *
 * @param {string} tag such as `p.hint`
 * @param {Record<string, any> | null} properties attributes; `on…` for listeners, `data` for data attributes
 * @param {...(Node | string | number | null | undefined | false)} children
 */
export function h(tag, properties, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === false || value === null) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'data') Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child || child === 0));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Sets a text, if it is another: a screen reader is told of changes only. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Shows a list, and touches only what has changed: what has the focus keeps it, and what is new can be seen to be.
 *
 * @param {Element} list
 * @param {{ key: string | number }[]} items
 * @param {(item: any) => Element} render
 */
export function show(list, items, render) {
  const before = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const first = list.dataset.shown === undefined;
  list.dataset.shown = '';
  const children = items.map((item) => {
    const key = String(item.key);
    const looks = JSON.stringify(item);
    const old = before.get(key);
    if (old && old.looks === looks) return old;
    const child = render(item);
    child.dataset.key = key;
    child.looks = looks;
    if (!old && !first) child.classList.add('new');
    return child;
  });
  children.forEach((child, n) => {
    if (list.children[n] !== child) list.insertBefore(child, list.children[n] ?? null);
  });
  while (list.children.length > children.length) list.lastElementChild.remove();
}
