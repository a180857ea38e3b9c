import type { EngineParts, IdempotencyEngine } from '../engine/engine.js';

/** The validated options of the module. */
export const IDEMPOTENCY_OPTIONS = Symbol('IDEMPOTENCY_OPTIONS');
/** The data source that holds the records. */
export const IDEMPOTENCY_DATA_SOURCE = Symbol('IDEMPOTENCY_DATA_SOURCE');
/** The lock in Redis; `undefined` without Redis. */
export const IDEMPOTENCY_LOCK = Symbol('IDEMPOTENCY_LOCK');
/** Replaces the module's engine. Provided by `nestjs-idempotency/testing`. */
export const IDEMPOTENCY_ENGINE_FACTORY = Symbol('IDEMPOTENCY_ENGINE_FACTORY');

export interface EngineFactory {
  createEngine(parts: EngineParts): IdempotencyEngine;
}
