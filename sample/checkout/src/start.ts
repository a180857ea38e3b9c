/** `npm start`: the payment provider as a process of its own, then the shop. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const provider = fork(join(import.meta.dirname, 'provider', 'main.js'));
provider.once('exit', (code) => {
  console.error(`The payment provider ended (${code}).`);
  process.exit(1);
});
await once(provider, 'message'); // it listens

// From here on only the open channel tells the provider that the shop is alive: it must not keep the shop alive.
provider.unref();
provider.channel?.unref();

await import('./main.js');
