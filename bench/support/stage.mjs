import { Redis } from 'ioredis';
import { startRedis } from '../../test/support/servers.mjs';
import { App, nestApp } from './app.mjs';
import { startDurablePostgres } from './postgres.mjs';

/** Servers and applications of one suite, and their end. */
export class Stage {
  /** @type {(() => unknown)[]} */
  #ends = [];

  /** @param {string} node path of the Node that applications run on */
  constructor(node) {
    this.node = node;
  }

  /**
   * Runs `work` on a stage, and clears it afterwards.
   *
   * @template T
   * @param {string} node path of the Node that applications run on
   * @param {(stage: Stage) => Promise<T>} work
   * @returns {Promise<T>}
   */
  static async use(node, work) {
    const stage = new Stage(node);
    try {
      return await work(stage);
    } finally {
      for (const end of stage.#ends.toReversed()) await end();
    }
  }

  /** @param {Parameters<typeof startDurablePostgres>[0]} [options] */
  async postgres(options) {
    const postgres = await startDurablePostgres(options);
    this.#ends.push(() => postgres.dispose());
    await postgres.query('CREATE EXTENSION pg_stat_statements');
    return postgres;
  }

  /**
   * @param {number} count
   * @returns {Promise<(import('./counters.mjs').Redis & { port: number })[]>}
   */
  redis(count) {
    return Promise.all(
      Array.from({ length: count }, async () => {
        const server = await startRedis();
        const client = new Redis(server.port, '127.0.0.1');
        this.#ends.push(
          () => server.dispose(),
          () => client.disconnect(),
        );
        return { pid: /** @type {number} */ (server.pid), port: server.port, client };
      }),
    );
  }

  /**
   * @param {string} file
   * @param {Record<string, unknown>} settings
   * @param {Parameters<typeof App.start>[2]} [options]
   */
  async app(file, settings, options) {
    const app = await App.start(file, settings, { node: this.node, ...options });
    this.#ends.push(() => app.stop());
    return app;
  }

  /**
   * An application of the bench and what it runs on.
   *
   * @param {'bare' | 'floor' | 'ours'} name, `floor` only after `ours`, whose migrations make its table
   * @param {object} on
   * @param {'express' | 'fastify'} on.platform
   * @param {import('./postgres.mjs').Postgres} on.postgres
   * @param {Record<string, unknown>} on.database
   * @param {Awaited<ReturnType<Stage['redis']>>} [on.redis]
   * @param {object} [on.module] options of the idempotency module
   */
  async place(name, { platform, postgres, database, redis = [], module }) {
    const redisPorts = redis.map(({ port }) => port);
    const app = await this.app(await nestApp(name), { platform, database, redisPorts, module });
    return { app, postgres, database: String(database.database), redis };
  }
}
