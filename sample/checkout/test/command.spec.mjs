/** `npm run checkout`, as somebody types it who has just cloned the repository. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { newPlace, until } from './support/processes.mjs';

const script = join(import.meta.dirname, '..', '..', '..', 'scripts', 'checkout.mjs');
const START_TIMEOUT = 120_000;

describe('npm run checkout', { timeout: 300_000 }, () => {
  let place;

  before(async () => (place = await newPlace()));
  after(() => place.remove());

  function checkout() {
    const child = spawn(process.execPath, [script], {
      env: { ...process.env, ...place.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const started = { child, output: '', ended: once(child, 'exit') };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (started.output += text));
    }
    return started;
  }

  it('opens the page, and ends with all that it started', async () => {
    const { child, ended } = checkout();
    try {
      await until(
        'the page',
        () =>
          fetch(place.url).then(
            (page) => page.ok,
            () => false,
          ),
        START_TIMEOUT,
      );
      const products = await (await fetch(`${place.url}/products`)).json();
      assert.ok(products.length > 0);
    } finally {
      child.kill('SIGINT');
    }
    assert.deepEqual(await ended, [0, null]);
    for (const url of [place.url, place.providerUrl]) await assert.rejects(fetch(url));
  });

  it('says which port is in use, and how to choose another', async () => {
    for (const [variable, port] of [
      ['PORT', place.env.PORT],
      ['PROVIDER_PORT', place.env.PROVIDER_PORT],
    ]) {
      const other = createServer().listen(Number(port), '127.0.0.1');
      await once(other, 'listening');
      const started = checkout();
      assert.deepEqual(await started.ended, [1, null]);
      assert.match(started.output, new RegExp(`^Port ${port} is in use.*: ${variable}=\\d+ npm run checkout$`, 'm'));
      assert.doesNotMatch(started.output, /EADDRINUSE/);
      other.close();
    }
  });
});
