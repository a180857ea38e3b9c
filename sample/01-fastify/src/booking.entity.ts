import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity()
export class Booking {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  @Column({ type: 'varchar', length: 50 })
  room!: string;
}
