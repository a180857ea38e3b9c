import { makeFolder, startMariadb, startPostgres, startRedis, startTogether } from './servers.mjs';

export const REDIS_NODES = 5;

/** Jest runs this once for all the projects that name it, in the process that starts the workers. */
export default async function globalSetup() {
  const run = /** @type {{ testRun?: { servers: import('./servers.mjs').Server[], folder: string } }} */ (globalThis);
  if (run.testRun) return;
  const servers = await startTogether([
    startPostgres(),
    startMariadb(),
    ...Array.from({ length: REDIS_NODES }, () => startRedis()),
  ]);
  const folder = makeFolder('files');
  run.testRun = { servers, folder };
  const [postgres, mariadb, ...redis] = servers.map((server) => server.port);
  process.env.TEST_PG_URL = `postgres://postgres:postgres@127.0.0.1:${postgres}/test`;
  process.env.TEST_MARIADB_URL = `mysql://t:t@127.0.0.1:${mariadb}/test`;
  process.env.TEST_REDIS_PORTS = redis.join(',');
  process.env.TEST_FOLDER = folder;
}
