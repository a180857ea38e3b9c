import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { RecordStatus } from '../../engine/ports/record-store.js';
import { DialectEntity, DialectTyped } from './dialect-columns.js';
import { asNumber } from './transformers.js';

/**
 * One idempotency key of one caller at one endpoint: its owner, and its outcome.
 *
 * For reading and for the schema. Write through `IdempotencyService`: a row saved through a repository is not fenced.
 */
@Entity({ name: 'idempotency_record' })
export class IdempotencyRecord extends DialectEntity {
  /** 128 bits of the SHA-256 of (namespace, scope, endpoint, key). The key itself is not stored. */
  @PrimaryColumn({ name: 'id', type: 'varchar', length: 36 })
  @DialectTyped('id')
  id!: string;

  /** What was asked: the option `operation`, or the route, such as `POST /payments/:id`. */
  @Column({ name: 'endpoint', type: 'varchar', length: 255 })
  endpoint!: string;

  /** The route of an operation that has a name, as it was when the record was claimed; `null`: `endpoint` is the route. */
  @Column({ name: 'route', type: 'varchar', length: 255, nullable: true })
  @DialectTyped('label')
  route!: string | null;

  /** Digest of namespace and scope; `null` where the caller had no scope, and in records from before this column. */
  @Column({ name: 'scope_digest', type: 'text', nullable: true })
  @Index({ where: 'scope_digest IS NOT NULL' })
  @DialectTyped('digest')
  scopeDigest!: Buffer | null;

  /** SHA-256 of the request, and of the full digest of (namespace, scope, endpoint, key). */
  @Column({ name: 'fingerprint', type: 'text' })
  @DialectTyped('digest')
  fingerprint!: Buffer;

  /** HMAC of the credential that the record is bound to, where there is no principal. */
  @Column({ name: 'binding', type: 'text', nullable: true })
  @DialectTyped('digest')
  binding!: Buffer | null;

  @Column({ name: 'status', type: 'varchar', length: 10 })
  status!: RecordStatus;

  /** The execution that owns the record, or owned it last. */
  @Column({ name: 'owner', type: 'varchar', length: 36 })
  @DialectTyped('id')
  owner!: string;

  /** The fencing token: grows at every claim. */
  @Column({ name: 'token', type: 'bigint', transformer: asNumber })
  token!: number;

  /** How often the operation was begun since it was first asked for. */
  @Column({ name: 'attempt', type: 'integer', transformer: asNumber })
  attempt!: number;

  /**
   * The state in which the present owner found the record: `processing` if it took over from one that fell silent.
   */
  @Column({ name: 'taken_from', type: 'varchar', length: 10, nullable: true })
  takenFrom!: RecordStatus | null;

  /** Whether an owner that dies leaves the outcome unknown (`held`) rather than to be run again. */
  @Column({ name: 'hold_on_crash', type: Boolean })
  holdOnCrash!: boolean;

  /**
   * How many more executions may take over from one that died, before the record is held: see the option `maxAttempts`.
   */
  @Column({ name: 'attempts_left', type: 'integer', default: 4, transformer: asNumber })
  attemptsLeft!: number;

  /** Whether a request waits for the outcome. */
  @Column({ name: 'awaited', type: Boolean })
  awaited!: boolean;

  @Column({ name: 'lease_until', type: 'bigint' })
  @DialectTyped('instant')
  leaseUntil!: Date;

  @Column({ name: 'created_at', type: 'bigint' })
  @DialectTyped('instant')
  createdAt!: Date;

  @Column({ name: 'completed_at', type: 'bigint', nullable: true })
  @DialectTyped('instant')
  completedAt!: Date | null;

  @Column({ name: 'expires_at', type: 'bigint' })
  @Index()
  @DialectTyped('instant')
  expiresAt!: Date;

  /** How long the outcome is kept from its completion, in milliseconds. */
  @Column({ name: 'retention_ms', type: 'bigint', default: 86_400_000, transformer: asNumber })
  retentionMs!: number;

  /** What is kept of the request: JSON as UTF-8 bytes, or sealed. */
  @Column({ name: 'request', type: 'text', nullable: true })
  @DialectTyped('bytes')
  request!: Buffer | null;

  /** HTTP status of the stored response; 1 for a value, 0 when the answer was not kept. */
  @Column({ name: 'response_code', type: 'smallint', nullable: true, transformer: asNumber })
  responseCode!: number | null;

  /** Headers of the stored response: JSON as UTF-8 bytes, or sealed. */
  @Column({ name: 'response_head', type: 'text', nullable: true })
  @DialectTyped('bytes')
  responseHead!: Buffer | null;

  /** Body of the stored response, as it went over the wire, or sealed. */
  @Column({ name: 'response_body', type: 'text', nullable: true })
  @DialectTyped('bytes')
  responseBody!: Buffer | null;
}
