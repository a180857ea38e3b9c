import { Column, Entity } from 'typeorm';
import type { RecordedStep } from '../../engine/ports/record-store.js';
import { DialectColumn, DialectEntity } from './dialect-columns.js';
import { asNumber } from './transformers.js';

/**
 * A step of an operation that has begun or ended: the execution that takes over does not repeat it.
 *
 * On PostgreSQL, a row with an empty name is the renewed lease of a transactional operation. `IdempotencyService.steps()`
 * leaves it out.
 */
@Entity({ name: 'idempotency_step' })
export class IdempotencyStep extends DialectEntity {
  @DialectColumn('id', { name: 'record_id', primary: true })
  recordId!: string;

  /** Compared byte by byte: names that differ in case or accents are different steps. */
  @DialectColumn('name', { name: 'name', primary: true })
  name!: string;

  /** `begun` without a running execution means that the process died inside the step. */
  @Column({ name: 'status', type: 'varchar', length: 10 })
  status!: RecordedStep['status'];

  /** Fencing token of the execution that wrote the row. */
  @Column({ name: 'token', type: 'bigint', transformer: asNumber })
  token!: number;

  /** The step's result: JSON as UTF-8 bytes, or sealed. */
  @DialectColumn('bytes', { name: 'result', nullable: true })
  result!: Buffer | null;

  @DialectColumn('instant', { name: 'updated_at' })
  updatedAt!: Date;
}
