import type { EntityManager } from 'typeorm';
import type { Execution as EngineExecution } from '../engine/execution.js';

/** The running execution of an idempotent operation, as its handler sees it. */
export interface Execution extends EngineExecution<EntityManager> {}
