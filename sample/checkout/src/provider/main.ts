/** The payment provider's process. It shares nothing with the shop but this repository. */
import { join } from 'node:path';
import { config } from '../config.js';
import { Ledger } from './ledger.js';
import { createProvider } from './server.js';

const server = createProvider(new Ledger(join(config.dataDir, 'ledger.jsonl')), (text) => {
  console.log(`[provider] ${text}`);
  process.send?.({ said: text });
});

server.listen(config.provider.port, '127.0.0.1', () => {
  console.log(`[provider] listening on ${config.provider.url}`);
  process.send?.('listening');
});

if (process.send) {
  // Started by the shop: leave with it, however it ends, and not before it has answered what it was asked.
  process.on('disconnect', () => process.exit());
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
}
