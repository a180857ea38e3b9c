import { setTimeout as sleep } from 'node:timers/promises';
import type { Trouble } from '../trouble.js';

/** Longer than it takes to notice the charge and stop the shop, in milliseconds. */
const ANSWER_AFTER = 2_500;
/** So that the audience sees both shops with the same payment. */
const PAUSE = 1_000;

export const zombie: Trouble = {
  id: 'zombie',
  title: 'A zombie wakes up late',
  about: 'Stops shop 1 (SIGSTOP) in the middle of a charge for longer than its lease, and lets it go on afterwards.',
  needs: 'signals',

  async play(scene) {
    const [sleeper, other] = scene.shops;
    await scene.provider.shall('slow', { delayMs: ANSWER_AFTER, times: 1 });
    scene.tell('Shop 1 asks the provider to charge.');
    const late = scene.ask(sleeper);
    await scene.untilCharged();
    sleeper.pause();
    scene.tell('Shop 1 stands still, and its lease runs out. The customer tries again at shop 2.');
    const { body } = await scene.askUntilDone(other);
    scene.tell('Shop 2 has answered. Now shop 1 wakes up and goes on where it stood.');
    await sleep(PAUSE);
    sleeper.resume();
    const answer = await late;
    if (!scene.protection) return 'Both shops finished the payment, each in good faith: each has its own charge.';
    return answer.body.id === body.id
      ? 'Shop 1 came back with an outdated fencing token and could record nothing. It answered with what shop 2 had recorded.'
      : 'Shop 1 came back with an outdated fencing token and could record nothing.';
  },
};
