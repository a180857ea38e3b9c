import type { Trouble } from '../trouble.js';

const RETRIES = 50;

export const fiftyRetries: Trouble = {
  id: 'fifty-retries',
  title: '50 retries at once',
  about: 'Sends the payment fifty times at once, over both shop processes, as an impatient client library would.',

  async play(scene) {
    scene.tell('Fifty requests with one key leave at once.');
    await Promise.all(Array.from({ length: RETRIES }, (_, n) => scene.askUntilDone(scene.shops[n % 2]!)));
    const { paid, replayed } = scene.view.answers;
    return scene.protection
      ? `${paid} of them ran the checkout, and ${replayed} were given what came of it, byte for byte.`
      : `Each of them ran the checkout: ${paid} orders, and as many charges.`;
  },
};
