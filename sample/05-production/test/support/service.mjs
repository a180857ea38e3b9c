/** PostgreSQL, Redis, the provider and instances of the service, as processes on free ports. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { freePort } from '../../../../test/support/free-port.mjs';
import { startPostgres, startRedis, startTogether } from '../../../../test/support/servers.mjs';

export const root = join(import.meta.dirname, '../..');
export const read = (file) => readFileSync(join(root, file), 'utf8');
export const run = promisify(execFile);

export const compose = parse(read('docker-compose.yml'), { merge: true });

/** What docker-compose.yml sets, with the defaults of its variables. */
export const composeEnvironment = Object.fromEntries(
  Object.entries(compose.services.app.environment).map(([name, value]) => [
    name,
    value.replace(/\$\{\w+:-([^}]*)\}/g, '$1'),
  ]),
);

/** The environment of docker-compose.yml, but for addresses and waiting times. */
export async function startStage() {
  const [postgres, redis] = await startTogether([startPostgres(), startRedis()]);
  const provider = `http://127.0.0.1:${await freePort()}`;
  const environment = {
    ...composeEnvironment,
    DATABASE_URL: `postgres://postgres@127.0.0.1:${postgres.port}/test`,
    REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    PROVIDER_URL: provider,
    IDEMPOTENCY_LEASE_SECONDS: '3',
    IDEMPOTENCY_STATS_SECONDS: '1',
  };
  const env = { PATH: process.env.PATH, ...environment };
  const command = (...args) => run(process.execPath, args, { cwd: root, env });
  const started = [];

  const start = async (script, settings, probe) => {
    const child = spawn(process.execPath, [script], {
      cwd: root,
      env: { ...env, ...settings },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const instance = {
      log: '',
      exit: once(child, 'exit'),
      kill: async (signal) => {
        child.kill(signal);
        return instance.exit;
      },
    };
    started.push(instance);
    child.stdout.setEncoding('utf8').on('data', (text) => (instance.log += text));
    await until(`${script} answers`, async () => {
      if (child.exitCode !== null) throw new Error(instance.log);
      return (await fetch(probe).catch(() => undefined))?.ok;
    });
    return instance;
  };

  return {
    env,
    redis,
    provider,
    command,
    startProvider: () => start('dist/provider/main.js', { PORT: new URL(provider).port }, `${provider}/ledger`),
    async startInstance() {
      const [port, metricsPort] = [await freePort(), await freePort()];
      const url = `http://127.0.0.1:${port}`;
      const settings = { PORT: String(port), METRICS_PORT: String(metricsPort) };
      const instance = await start('dist/main.js', settings, `${url}/health`);
      return Object.assign(instance, { url, metrics: `http://127.0.0.1:${metricsPort}/metrics` });
    },
    async end() {
      await Promise.all(started.map((instance) => instance.kill('SIGKILL')));
      await Promise.all([postgres.dispose(), redis.dispose()]);
    },
  };
}

/** Polls until `check` returns something truthy, and returns that. */
export async function until(what, check, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`Timed out: ${what}`);
    await sleep(50);
  }
}
