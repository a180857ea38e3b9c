import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity()
export class Product {
  @PrimaryColumn({ type: 'varchar', length: 32 })
  sku!: string;

  @Column({ type: 'varchar', length: 100 })
  name!: string;

  /** In cents. */
  @Column({ type: 'integer' })
  price!: number;

  /** What is left to be sold: reserved pieces are gone from it. */
  @Column({ type: 'integer' })
  stock!: number;
}
