export { StoreUnavailableError } from '../engine/errors.js';
export type { EngineParts } from '../engine/engine.js';
export type * from '../engine/ports/record-lock.js';
export type * from '../engine/ports/record-store.js';
export { FaultyRecordStore } from './faulty-record-store.js';
export { SimulatedCrashError } from './life.js';
export { type FaultAction, type FaultChoice, type FaultScene, IdempotencyFaults } from './idempotency-faults.js';
export { IdempotencyFaultsModule } from './idempotency-faults.module.js';
export { FAULT_POINTS, type FaultCall, type FaultHook, type FaultPoint, type FaultSite } from './points.js';
