export { IdempotencyProblem, type ProblemCode, type ProblemDocument } from './problem.js';
export * from './problems.js';
