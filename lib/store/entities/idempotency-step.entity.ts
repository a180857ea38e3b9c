import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RecordedStep } from '../../engine/ports/record-store.js';
import { DialectEntity, DialectTyped } from './dialect-columns.js';
import { asNumber } from './transformers.js';

/**
 * A step inside an operation that has begun or ended, so that the execution that takes over need not repeat it.
 *
 * On PostgreSQL, a row without a name is no step: it is the lease of a transactional operation that was renewed, and goes
 * with its record. `IdempotencyService.steps()` leaves it out.
 */
@Entity({ name: 'idempotency_step' })
export class IdempotencyStep extends DialectEntity {
  @PrimaryColumn({ name: 'record_id', type: 'varchar', length: 36 })
  @DialectTyped('id')
  recordId!: string;

  /** Compared byte by byte: names that differ in case or accents are different steps. */
  @PrimaryColumn({ name: 'name', type: 'varchar', length: 191 })
  @DialectTyped('name')
  name!: string;

  /** `begun` with no execution running means that the process died inside it. */
  @Column({ name: 'status', type: 'varchar', length: 10 })
  status!: RecordedStep['status'];

  /** Fencing token of the execution that wrote this. */
  @Column({ name: 'token', type: 'bigint', transformer: asNumber })
  token!: number;

  /** The step's result: JSON as UTF-8 bytes, or sealed. */
  @Column({ name: 'result', type: 'text', nullable: true })
  @DialectTyped('bytes')
  result!: Buffer | null;

  @Column({ name: 'updated_at', type: 'bigint' })
  @DialectTyped('instant')
  updatedAt!: Date;
}
