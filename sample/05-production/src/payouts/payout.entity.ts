import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity('payouts')
export class Payout {
  @PrimaryColumn({ type: 'uuid' })
  id!: string;

  @Column({ type: 'varchar', length: 64 })
  customer!: string;

  @Column({ type: 'varchar', length: 34 })
  iban!: string;

  /** In cents. */
  @Column({ type: 'integer' })
  amount!: number;

  @Column({ type: 'char', length: 3 })
  currency!: string;

  /** `unknown`: the bank did not answer. A person asks it. */
  @Column({ type: 'varchar', length: 10 })
  status!: 'pending' | 'sent' | 'unknown';

  /** The bank's id. */
  @Column({ type: 'varchar', length: 64, nullable: true })
  transfer!: string | null;
}
