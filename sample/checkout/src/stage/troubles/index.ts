import type { Trouble } from '../trouble.js';
import { crash } from './crash.js';
import { doubleClick } from './double-click.js';
import { fiftyRetries } from './fifty-retries.js';
import { lostAnswer } from './lost-answer.js';
import { noRedis } from './no-redis.js';
import { otherCart } from './other-cart.js';
import { zombie } from './zombie.js';

export const TROUBLES: readonly Trouble[] = [doubleClick, fiftyRetries, lostAnswer, crash, zombie, otherCart, noRedis];
