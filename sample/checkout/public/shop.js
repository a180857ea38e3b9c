import { byId, h, setText, show } from './dom.js';
import { money, plural } from './format.js';
import { Payment } from './payment.js';

/** Products, the cart, and paying for it. */
export class Shop {
  #products = [];
  #quantities = new Map([
    ['MUG', 1],
    ['TEAPOT', 1],
  ]);
  #protection = true;
  #payment;
  #onPayment;
  #busy = false;

  /** @param {(payment: Payment) => void} onPayment called whenever something has come of a payment */
  constructor(onPayment) {
    this.#onPayment = onPayment;
    byId('pay').addEventListener('click', () => void this.#pay());
    byId('new-payment').addEventListener('click', () => this.#begin());
    this.#begin();
  }

  get items() {
    return [...this.#quantities].filter(([, quantity]) => quantity > 0).map(([sku, quantity]) => ({ sku, quantity }));
  }

  set protection(on) {
    this.#protection = on;
    this.#begin();
  }

  /** While a trouble is played, a payment of one's own would be mixed into it. */
  set busy(busy) {
    if (busy === this.#busy) return;
    this.#busy = busy;
    this.#tell();
    this.#show();
  }

  update(products) {
    this.#products = products;
    this.#show();
  }

  #begin() {
    this.#payment = new Payment(this.items, this.#protection);
    setText(byId('key'), this.#payment.key);
    this.#tell();
  }

  async #pay() {
    const payment = this.#payment;
    if (payment.items.length === 0 || this.#busy) return;
    await payment.pay(() => {
      this.#onPayment(payment);
      if (payment === this.#payment) this.#tell();
    });
  }

  #tell() {
    const { requests, answers, message } = this.#payment;
    const { paid, replayed } = answers;
    let text = 'Click it as often as you like: it is one payment, with one key.';
    if (!this.#protection) text = 'Careful: each click is another charge.';
    if (requests > 0) text = paid + replayed > 0 ? `Paid. ${plural(requests, 'request')} so far.` : 'Paying…';
    setText(byId('paid'), this.#busy ? 'Wait until the trouble is over.' : message || text);
  }

  #change(sku, by) {
    this.#quantities.set(sku, Math.min(99, Math.max(0, (this.#quantities.get(sku) ?? 0) + by)));
    this.#begin();
    this.#show();
  }

  #show() {
    const products = this.#products.map(({ sku, name, price, stock }) => {
      const quantity = this.#quantities.get(sku) ?? 0;
      return { key: sku, name, price, quantity, soldOut: stock === 0, most: quantity >= Math.min(stock, 99) };
    });
    show(
      byId('products'),
      products.map(({ key }) => ({ key })),
      () => h('li.product', null),
    );
    for (const [n, product] of products.entries()) this.#showProduct(byId('products').children[n], product);
    const total = products.reduce((sum, { price, quantity }) => sum + price * quantity, 0);
    setText(byId('total'), money(total));
    byId('pay').disabled = total === 0;
    byId('pay').setAttribute('aria-disabled', String(this.#busy));
  }

  /** Keeps the buttons, so that the one with the focus keeps it. */
  #showProduct(row, { key: sku, name, price, quantity, soldOut, most }) {
    if (!row.firstChild) {
      row.append(
        h('span.name', null, name, h('small', null)),
        h(
          'span.stepper',
          null,
          h('button', { type: 'button', 'aria-label': `One ${name} less`, onclick: () => this.#change(sku, -1) }, '−'),
          h('output', { 'aria-label': `Number of ${name}` }),
          h('button', { type: 'button', 'aria-label': `One ${name} more`, onclick: () => this.#change(sku, 1) }, '+'),
        ),
      );
    }
    const [less, output, more] = row.lastChild.children;
    setText(row.querySelector('small'), soldOut ? 'sold out' : money(price));
    setText(output, String(quantity));
    less.setAttribute('aria-disabled', String(quantity === 0));
    more.setAttribute('aria-disabled', String(most));
  }
}
