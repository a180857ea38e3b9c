import { Column, CreateDateColumn, Entity, OneToMany, PrimaryColumn } from 'typeorm';
import { OrderLine } from './order-line.entity.js';

/** `reserved`: the stock is taken, the outcome of the charge is not known yet. */
export type OrderStatus = 'reserved' | 'paid' | 'cancelled';

@Entity('orders')
export class Order {
  /** Derived from the idempotency key: a second order for one operation cannot be inserted. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  @Column({ type: 'varchar', length: 16 })
  status!: OrderStatus;

  /** In cents. */
  @Column({ type: 'integer' })
  total!: number;

  @Column({ type: 'varchar', length: 3 })
  currency!: string;

  @Column({ type: 'varchar', length: 64, nullable: true })
  chargeId!: string | null;

  @CreateDateColumn()
  createdAt!: Date;

  @OneToMany(() => OrderLine, (line) => line.order)
  lines!: OrderLine[];
}
