import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** The client's process. */
export class Load {
  #child = fork(join(import.meta.dirname, 'load-generator.mjs'));

  /**
   * @param {import('./load-generator.mjs').Job} job
   * @returns {Promise<import('./load-generator.mjs').Measured>}
   */
  async run(job) {
    this.#child.send(job);
    const [{ measured, error }] = await once(this.#child, 'message');
    if (error) throw new Error(`${job.path}: ${error}`);
    return measured;
  }

  close() {
    this.#child.disconnect();
  }
}
