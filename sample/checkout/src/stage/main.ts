/** `npm run stage`: two shops, the payment provider, a Redis if there is one, and the page that makes trouble for them. */
import { once } from 'node:events';
import { config } from '../config.js';
import { createFrontDoor } from './front-door.js';
import { Stage } from './stage.js';

const stage = new Stage();
const door = createFrontDoor(stage);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void close());
let closing = false;

try {
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
