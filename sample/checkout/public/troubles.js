import { announce } from './announcer.js';
import { byId, h } from './dom.js';

/** The buttons that make trouble. */
export class Troubles {
  #buttons = [];
  #start;

  /** @param {(id: string) => Promise<void>} start */
  constructor(start) {
    this.#start = start;
  }

  /** @param {{ id: string, title: string, about: string, unavailable?: string }[]} troubles */
  list(troubles) {
    this.#buttons = troubles.map(({ id, title, about, unavailable }) => {
      const attributes = { type: 'button', id: `trouble-${id}`, 'aria-describedby': `about-${id}` };
      const button = h('button', { ...attributes, onclick: () => this.#play(button, about) }, title);
      button.unavailable = Boolean(unavailable);
      return button;
    });
    byId('trouble-list').replaceChildren(
      ...troubles.map(({ id, about, unavailable }, n) =>
        h(
          'li',
          { data: unavailable ? { unavailable: '' } : {} },
          this.#buttons[n],
          h('p', { id: `about-${id}` }, unavailable ? `Not here: ${unavailable}` : about),
        ),
      ),
    );
    this.busy = undefined;
  }

  /** Which of them is being played. A disabled button would lose the focus. */
  set busy(id) {
    for (const button of this.#buttons) {
      const busy = id !== undefined;
      button.setAttribute('aria-disabled', String(busy || button.unavailable));
      button.parentElement.toggleAttribute('data-busy', busy && button.id === `trouble-${id}`);
    }
  }

  async #play(button, about) {
    if (button.getAttribute('aria-disabled') === 'true') return;
    const id = button.id.slice('trouble-'.length);
    this.busy = id;
    announce(about);
    try {
      await this.#start(id);
    } catch (error) {
      this.busy = undefined;
      announce(error.message);
    }
  }
}
