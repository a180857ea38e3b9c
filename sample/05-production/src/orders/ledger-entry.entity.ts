import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';

/** One side of a posting. */
@Entity('ledger')
export class LedgerEntry {
  @PrimaryColumn({ type: 'uuid' })
  posting!: string;

  @PrimaryColumn({ type: 'varchar', length: 80 })
  account!: string;

  /** In cents: a debit above zero, a credit below. */
  @Column({ type: 'integer' })
  amount!: number;
}

export interface Posting {
  readonly id: string;
  readonly debit: string;
  readonly credit: string;
  readonly amount: number;
}

/** Writes both sides of a posting, in the transaction of `manager`. */
export async function post(manager: EntityManager, { id: posting, debit, credit, amount }: Posting): Promise<void> {
  await manager.insert(LedgerEntry, [
    { posting, account: debit, amount },
    { posting, account: credit, amount: -amount },
  ]);
}
