import type { Trouble } from '../trouble.js';

export const otherCart: Trouble = {
  id: 'other-cart',
  title: 'Reuse the key for another cart',
  about: 'Pays, then sends a different cart under the same key, as a client with a bug would.',

  async play(scene) {
    const [one, two] = scene.shops;
    await scene.askUntilDone(one);
    scene.tell('The cart is paid. Now another cart comes under the same key.');
    const other = await scene.ask(two, { items: [{ sku: 'MUG', quantity: 42 }] });
    return scene.protection
      ? `The fingerprint of the request is not the one on record: ${other.status} ${other.body.code ?? ''}, and nothing was charged for it.`
      : 'Nobody compared the carts: the second was charged as well.';
  },
};
