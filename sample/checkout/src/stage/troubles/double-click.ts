import type { Trouble } from '../trouble.js';

export const doubleClick: Trouble = {
  id: 'double-click',
  title: 'Double click',
  about: 'Sends the payment twice at the same moment, once to each of the two shop processes.',

  async play(scene) {
    const [one, two] = scene.shops;
    scene.tell('Two clicks: the same request goes to shop 1 and to shop 2.');
    await Promise.all([scene.askUntilDone(one), scene.askUntilDone(two)]);
    return scene.protection
      ? 'Both asked the database for the key, and one got it. The other waited and was given the same answer.'
      : 'Nothing told the second click from a second order: each shop charged the card.';
  },
};
