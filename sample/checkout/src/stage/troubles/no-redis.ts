import type { Trouble } from '../trouble.js';

const RETRIES = 10;

export const noRedis: Trouble = {
  id: 'no-redis',
  title: 'Take Redis away',
  about: 'Kills Redis, which holds the locks, and sends the payment ten times at once. Redis comes back afterwards.',
  needs: 'redis',

  async play(scene) {
    await scene.redis!.kill();
    scene.tell('Redis is dead: nobody can have a lock. Ten requests with one key leave at once.');
    await Promise.all(Array.from({ length: RETRIES }, (_, n) => scene.askUntilDone(scene.shops[n % 2]!)));
    return scene.protection
      ? 'The lock only keeps duplicates away from the database. The database decided, as it always does.'
      : `${scene.view.answers.paid} orders, and as many charges, as with Redis: without protection nobody asks for a lock.`;
  },
};
