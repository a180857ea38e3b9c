import type { ArgumentsHost } from '@nestjs/common';
import type { IdempotencyProblem, ProblemCode } from '../../problems/problem.js';

/** The gRPC status code for each problem (google/rpc/code.proto). */
const GRPC_CODE: Record<ProblemCode, number> = {
  'key-missing': 3, // INVALID_ARGUMENT
  'key-invalid': 3,
  'key-reused': 6, // ALREADY_EXISTS
  'key-foreign': 7, // PERMISSION_DENIED
  'in-progress': 10, // ABORTED
  'outcome-unknown': 9, // FAILED_PRECONDITION
  'replay-unavailable': 9,
  'outcome-not-recorded': 14, // UNAVAILABLE
  'store-unavailable': 14,
  'record-unreadable': 15, // DATA_LOSS
};

interface Metadata {
  readonly constructor: new () => Metadata;
  getMap(): unknown;
  set(name: string, value: string): void;
}

/**
 * Returns what a client of a message handler gets for a problem: the members of problem details (RFC 9457) and a message. A gRPC client
 * gets a status code, the message, and the problem as JSON in the trailer `idempotency-problem`.
 */
export function rpcErrorOf(problem: IdempotencyProblem, host: ArgumentsHost): object {
  const { extensions, message, code } = problem;
  const metadata = host.switchToRpc().getContext<Partial<Metadata> | undefined>();
  if (typeof metadata?.getMap !== 'function') return { ...extensions, message };
  const trailers = new (metadata as Metadata).constructor();
  trailers.set('idempotency-problem', JSON.stringify(extensions));
  return { code: GRPC_CODE[code], details: message, message, metadata: trailers };
}
