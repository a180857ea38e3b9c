import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

@Entity('orders')
export class Order {
  @PrimaryColumn({ type: 'uuid' })
  id!: string;

  @Column({ type: 'varchar', length: 64 })
  customer!: string;

  @Column({ type: 'varchar', length: 200 })
  description!: string;

  /** In cents. */
  @Column({ type: 'integer' })
  amount!: number;

  @Column({ type: 'char', length: 3 })
  currency!: string;

  @Column({ type: 'varchar', length: 10, default: 'open' })
  status!: 'open' | 'paid';

  /** The payment that pays this order, or tries to. Another one is refused. */
  @Column({ type: 'uuid', nullable: true })
  payment!: string | null;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_at' })
  createdAt!: Date;
}
