/** `npm run stage`: two shops, the payment provider, a Redis if there is one, and the page that makes trouble for them. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { config } from '../config.js';
import { createFrontDoor } from './front-door.js';
import { Stage } from './stage.js';

const stage = new Stage();
const door = createFrontDoor(stage);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void close());
let closing = false;

try {
  await checkPort('PORT', config.port);
  await checkPort('PROVIDER_PORT', config.provider.port);
  await stage.open();
  door.listen(config.port, '127.0.0.1');
  await once(door, 'listening');
  console.log(`\n  The checkout: http://localhost:${config.port}\n`);
} catch (error) {
  if (!closing) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
    await close();
  }
}

async function close(): Promise<void> {
  if (closing) return;
  closing = true;
  door.close();
  door.closeAllConnections();
  await stage.close();
  process.exit();
}

/** Before anything is started, and with what to do about it. */
async function checkPort(variable: string, port: number): Promise<void> {
  const probe = createServer().listen(port, '127.0.0.1');
  try {
    await once(probe, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Error(
      `Port ${port} is in use by another program. Choose another one: ${variable}=${port + 100} npm run checkout`,
    );
  }
  probe.close();
  await once(probe, 'close');
}
