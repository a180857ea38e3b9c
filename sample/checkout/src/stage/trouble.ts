import type { Scene } from './scene.js';

/** Something that goes wrong on the way of a payment. */
export interface Trouble {
  id: string;
  title: string;
  /** What is about to be done, in a sentence. */
  about: string;
  /** What the machine has to have. */
  needs?: 'signals' | 'redis';
  /** Makes it happen, and returns what came of it, in a sentence. Whatever it has broken is mended after it. */
  play(scene: Scene): Promise<string>;
}
