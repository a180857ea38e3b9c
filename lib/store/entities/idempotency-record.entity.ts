import { Column, Entity, Index } from 'typeorm';
import type { RecordStatus } from '../../engine/ports/record-store.js';
import { DialectColumn, DialectEntity } from './dialect-columns.js';
import { asNumber } from './transformers.js';

/**
 * One idempotency key of one caller at one endpoint: its owner, and its outcome.
 *
 * Use it to read, and for the schema. Write through `IdempotencyService`: a repository's `save()` is not fenced, and may
 * overwrite the record of a running operation.
 */
@Entity({ name: 'idempotency_record' })
export class IdempotencyRecord extends DialectEntity {
  /** 128 bits of the SHA-256 of (namespace, scope, endpoint, key). The key itself is not stored. */
  @DialectColumn('id', { name: 'id', primary: true })
  id!: string;

  /** The operation, as `find()` and `list()` take it: the option `operation`, or the route, such as `POST /payments/:id`. */
  @Column({ name: 'endpoint', type: 'varchar', length: 255 })
  endpoint!: string;

  /** The route of an operation with a name of its own, at the time of the claim. `null`: `endpoint` is the route. */
  @DialectColumn('label', { name: 'route', nullable: true })
  route!: string | null;

  /** Digest of namespace and scope. `null` if the caller had no scope, and in records older than this column. */
  @Index({ where: 'scope_digest IS NOT NULL' })
  @DialectColumn('digest', { name: 'scope_digest', nullable: true })
  scopeDigest!: Buffer | null;

  /** SHA-256 of the request and of the full digest of (namespace, scope, endpoint, key). */
  @DialectColumn('digest', { name: 'fingerprint' })
  fingerprint!: Buffer;

  /** HMAC of the credential that the record is bound to, if the caller has no principal. */
  @DialectColumn('digest', { name: 'binding', nullable: true })
  binding!: Buffer | null;

  @Column({ name: 'status', type: 'varchar', length: 10 })
  status!: RecordStatus;

  /** The execution that owns the record, or owned it last. */
  @DialectColumn('id', { name: 'owner' })
  owner!: string;

  /** The fencing token, which grows at every claim. */
  @Column({ name: 'token', type: 'bigint', transformer: asNumber })
  token!: number;

  /** How often the operation has been started. 1 on the first run. */
  @Column({ name: 'attempt', type: 'integer', transformer: asNumber })
  attempt!: number;

  /** The status in which the present owner found the record: `processing` if it took over from an owner that died. */
  @Column({ name: 'taken_from', type: 'varchar', length: 10, nullable: true })
  takenFrom!: RecordStatus | null;

  /** Whether the record is held when its owner dies, so that the operation never runs again by itself. */
  @Column({ name: 'hold_on_crash', type: Boolean })
  holdOnCrash!: boolean;

  /** How many more executions may take over from one that died, before the record is held: option `maxAttempts`. */
  @Column({ name: 'attempts_left', type: 'integer', default: 4, transformer: asNumber })
  attemptsLeft!: number;

  /** Whether a request waits for the outcome. */
  @Column({ name: 'awaited', type: Boolean })
  awaited!: boolean;

  @DialectColumn('instant', { name: 'lease_until' })
  leaseUntil!: Date;

  @DialectColumn('instant', { name: 'created_at' })
  createdAt!: Date;

  @DialectColumn('instant', { name: 'completed_at', nullable: true })
  completedAt!: Date | null;

  @Index()
  @DialectColumn('instant', { name: 'expires_at' })
  expiresAt!: Date;

  /** How long the outcome is kept from its completion, in milliseconds. */
  @Column({ name: 'retention_ms', type: 'bigint', default: 86_400_000, transformer: asNumber })
  retentionMs!: number;

  /** The stored part of the request: JSON as UTF-8 bytes, or sealed. */
  @DialectColumn('bytes', { name: 'request', nullable: true })
  request!: Buffer | null;

  /** HTTP status of the stored response; 1 for a value, 0 if the response was not stored. */
  @Column({ name: 'response_code', type: 'smallint', nullable: true, transformer: asNumber })
  responseCode!: number | null;

  /** Headers of the stored response: JSON as UTF-8 bytes, or sealed. */
  @DialectColumn('bytes', { name: 'response_head', nullable: true })
  responseHead!: Buffer | null;

  /** Body of the stored response: the bytes that were sent, or sealed. */
  @DialectColumn('bytes', { name: 'response_body', nullable: true })
  responseBody!: Buffer | null;
}
