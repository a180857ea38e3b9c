import type { Trouble } from '../trouble.js';

/** Longer than it takes to notice the charge and kill the shop, in milliseconds. */
const ANSWER_AFTER = 10_000;

export const crash: Trouble = {
  id: 'crash',
  title: 'Crash in the middle of a charge',
  about: 'Kills shop 1 (kill -9) after the provider has charged and before it has said so, then starts it again.',

  async play(scene) {
    const [victim, survivor] = scene.shops;
    await scene.provider.shall('slow', { delayMs: ANSWER_AFTER, times: 1 });
    scene.tell('Shop 1 asks the provider to charge; the provider takes its time to answer.');
    const lost = scene.ask(victim);
    await scene.untilCharged();
    await victim.kill();
    scene.tell(
      'The card was charged, and shop 1 is dead. The customer’s connection broke, and the customer tries again.',
    );
    await lost;
    await Promise.all([scene.askUntilDone(survivor), victim.start()]);
    return scene.protection
      ? 'When the lease had run out, shop 2 took the record over, skipped the reservation, asked about the charge, and confirmed the order.'
      : 'Shop 2 knew nothing of what shop 1 had done, and charged the card again.';
  },
};
