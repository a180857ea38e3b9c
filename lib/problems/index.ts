export { IdempotencyProblem, type ProblemCode, type ProblemDocument, type ProblemOptions } from './problem.js';
export * from './problems.js';
