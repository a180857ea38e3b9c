import type { Trouble } from '../trouble.js';

export const lostAnswer: Trouble = {
  id: 'lost-answer',
  title: 'Lose the provider’s answer',
  about: 'The provider charges the card, then the connection breaks before it can say so. The customer retries.',

  async play(scene) {
    await scene.provider.shall('drop-answer', { times: 1 });
    scene.tell('The provider will charge and hang up.');
    await scene.ask(scene.shops[0]);
    scene.tell('The shop could not know whether it had charged, and said 502. The customer tries again.');
    await scene.askUntilDone(scene.shops[1]);
    return scene.protection
      ? 'The retry asked the provider what had become of the charge before it would make another, and found it.'
      : 'The retry knew nothing of the first charge, and made another.';
  },
};
