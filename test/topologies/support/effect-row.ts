import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What transactional handlers write: a debit and a credit for each operation. */
@Entity('effect_row')
export class EffectRow {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) op!: string;
  @Column({ type: 'varchar', length: 20 }) part!: string;
  /** Which call of the handler wrote it. */
  @Column({ type: 'varchar', length: 36 }) run!: string;
}
