import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { config } from '../config.js';
import type { LedgerEntry } from '../provider/ledger.js';

export type { LedgerEntry };

/** The payment provider's process, and its HTTP interface as far as the stage needs it. */
export class ProviderProcess {
  /** How it behaves: see `provider/server.ts`. */
  mode = 'ok';

  private constructor(private readonly child: ChildProcess) {}

  /** Resolves once it listens. */
  static async start(onSaid: (text: string) => void): Promise<ProviderProcess> {
    const child = fork(join(import.meta.dirname, '..', 'provider', 'main.js'));
    child.once('exit', (code) => {
      console.error(`The payment provider ended (${code}).`);
      process.exit(1);
    });
    await once(child, 'message');
    child.on('message', (message: { said?: string }) => {
      if (message.said) onSaid(message.said);
    });
    return new ProviderProcess(child);
  }

  async shall(mode: string, { delayMs = 0, times }: { delayMs?: number; times?: number } = {}): Promise<void> {
    this.mode = mode;
    await fetch(`${config.provider.url}/behaviour`, {
      method: 'PUT',
      body: JSON.stringify({ mode, delayMs, times }),
    });
  }

  async ledger(): Promise<LedgerEntry[]> {
    const response = await fetch(`${config.provider.url}/ledger`);
    return (await response.json()) as LedgerEntry[];
  }

  async clearLedger(): Promise<void> {
    await fetch(`${config.provider.url}/ledger`, { method: 'DELETE' });
  }

  close(): void {
    this.child.removeAllListeners('exit');
    this.child.disconnect();
  }
}
