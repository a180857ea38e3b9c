/** The real shop and the real payment provider, as processes of their own on free ports. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const dist = join(import.meta.dirname, '..', '..', 'dist');

/** What a shop and its provider need to be started, and to be started again where they were. */
export async function newPlace(env = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'checkout-sample-'));
  const [port, providerPort] = [await freePort(), await freePort()];
  return {
    dataDir,
    url: `http://127.0.0.1:${port}`,
    providerUrl: `http://127.0.0.1:${providerPort}`,
    env: {
      PATH: process.env.PATH,
      NO_COLOR: '1',
      PORT: String(port),
      PROVIDER_PORT: String(providerPort),
      DATA_DIR: dataDir,
      ...env,
    },
    remove: () => rm(dataDir, { recursive: true, force: true }),
  };
}

/** `npm start`: the shop with the provider as its child. */
export const startBoth = (place) => start('start.js', place, place.url);

/** `npm run stage`: two shops, the provider, Redis, and the page. */
export const startStage = (place) => start('stage/main.js', place, place.url);

export const startShop = (place) => start('main.js', place, place.url);

export const startProvider = (place) => start('provider/main.js', place, `${place.providerUrl}/ledger`);

async function start(script, place, probe) {
  const child = spawn(process.execPath, [join(dist, script)], {
    env: place.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const started = {
    output: '',
    pid: child.pid,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (started.output += text));
  }
  await until(`${script} answers`, async () => {
    if (child.exitCode !== null) throw new Error(started.output);
    return answers(probe);
  });
  return started;
}

/** Polls until `check` returns something truthy, and returns that. */
export async function until(what, check, timeoutMs = 20_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`Timed out: ${what}`);
    await sleep(50);
  }
}

export async function answers(url) {
  try {
    await (await fetch(url)).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}
