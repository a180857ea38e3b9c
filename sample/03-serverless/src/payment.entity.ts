import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity()
export class Payment {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  /** In cents. */
  @Column({ type: 'integer' })
  amount!: number;
}
