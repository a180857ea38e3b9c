import { randomUUID } from 'node:crypto';
import { existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface ChargeRequest {
  amount: number;
  currency: string;
  reference: string;
  card?: string;
}

export interface LedgerEntry extends ChargeRequest {
  id: string;
  /** The idempotency key that the charge was booked under. */
  key: string;
  status: 'succeeded' | 'declined';
}

/** One line of JSON for each charge, on the disk before anybody hears of it. */
export class Ledger {
  private readonly entries = new Map<string, LedgerEntry>();
  private readonly file: number;

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    if (existsSync(path)) {
      for (const line of readFileSync(path, 'utf8').split('\n')) {
        if (line) this.remember(JSON.parse(line) as LedgerEntry);
      }
    }
    this.file = openSync(path, 'a');
  }

  list(): LedgerEntry[] {
    return [...this.entries.values()];
  }

  find(key: string): LedgerEntry | undefined {
    return this.entries.get(key);
  }

  book(key: string, charge: ChargeRequest): LedgerEntry {
    const { amount, currency, reference, card } = charge;
    const entry: LedgerEntry = {
      id: `ch_${randomUUID().slice(0, 8)}`,
      key,
      status: card === 'tok_declined' ? 'declined' : 'succeeded',
      amount,
      currency,
      reference,
      card,
    };
    writeSync(this.file, `${JSON.stringify(entry)}\n`);
    fsyncSync(this.file);
    this.remember(entry);
    return entry;
  }

  /** Forgets all charges, for another demonstration. */
  clear(): void {
    ftruncateSync(this.file);
    this.entries.clear();
  }

  private remember(entry: LedgerEntry): void {
    this.entries.set(entry.key, entry);
  }
}
