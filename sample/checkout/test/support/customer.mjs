/** What a customer's browser does, and what the two ledgers say about it afterwards. */
import { setTimeout as sleep } from 'node:timers/promises';

export const CART = {
  items: [
    { sku: 'MUG', quantity: 2 },
    { sku: 'TEAPOT', quantity: 1 },
  ],
  card: 'tok_visa',
};

export function customerOf({ url, providerUrl }) {
  const getJson = async (from) => (await fetch(from)).json();

  const customer = {
    /** One request. */
    async checkout(key, cart = CART) {
      const response = await fetch(`${url}/checkout`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          ...(key && { 'Idempotency-Key': key }),
        },
        body: JSON.stringify(cart),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      return {
        status: response.status,
        headers: response.headers,
        bytes,
        json: JSON.parse(bytes.toString()),
        replayed: response.headers.get('Idempotent-Replayed') === 'true',
      };
    },

    /** The same request until there is a definitive answer. */
    async checkoutUntilDone(key, cart = CART, timeoutMs = 40_000) {
      const deadline = Date.now() + timeoutMs;
      let last;
      while (Date.now() < deadline) {
        last = await customer.checkout(key, cart).catch((error) => error);
        if (last.status && !mayRetry(last)) return last;
        await sleep(250);
      }
      throw new Error(`No definitive answer: ${last.json?.code ?? last}`);
    },

    orders: () => getJson(`${url}/orders`),
    ledger: () => getJson(`${providerUrl}/ledger`),
    async chargesFor(order) {
      const entries = await customer.ledger();
      return entries.filter((entry) => entry.reference === order.id);
    },
    async stock(sku) {
      const products = await getJson(`${url}/products`);
      return products.find((product) => product.sku === sku).stock;
    },

    async providerShall(mode, delayMs = 0) {
      await fetch(`${providerUrl}/behaviour`, {
        method: 'PUT',
        body: JSON.stringify({ mode, delayMs }),
      });
    },
  };
  return customer;
}

function mayRetry({ status, json }) {
  return status >= 500 || (status === 409 && json.code === 'in-progress');
}
