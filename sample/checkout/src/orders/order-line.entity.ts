import { Column, Entity, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Order } from './order.entity.js';

@Entity()
export class OrderLine {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  orderId!: string;

  @PrimaryColumn({ type: 'varchar', length: 32 })
  sku!: string;

  @Column({ type: 'integer' })
  quantity!: number;

  /** In cents, as it was when the order was placed. */
  @Column({ type: 'integer' })
  unitPrice!: number;

  @ManyToOne(() => Order, (order) => order.lines)
  order?: Relation<Order>;
}
