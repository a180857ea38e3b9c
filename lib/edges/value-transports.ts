import type { ArgumentsHost, ExecutionContext } from '@nestjs/common';
import { throwError } from 'rxjs';
import type { IdempotencyProblem } from '../problems/problem.js';
import { graphqlRequest } from './graphql/graphql-request.js';
import { rpcErrorOf } from './rpc/rpc-error.js';
import { rpcRequest } from './rpc/rpc-request.js';
import type { ValueEdge, ValueRequest } from './values/value-edge.js';

/** A transport whose handlers answer with values. */
interface ValueTransport {
  /** Returns the request that a handler gets; `undefined` for a handler that is not idempotent, whose calls pass through. */
  readonly requestOf: (context: ExecutionContext, edge: ValueEdge) => ValueRequest | undefined;
  /** Sends a problem from an exception filter. */
  readonly sendProblem: (problem: IdempotencyProblem, host: ArgumentsHost) => unknown;
}

/** By Nest's name for the type of a context. */
const TRANSPORTS = new Map<string, ValueTransport>([
  ['rpc', { requestOf: rpcRequest, sendProblem: (problem, host) => throwError(() => rpcErrorOf(problem, host)) }],
  [
    'graphql',
    {
      requestOf: graphqlRequest,
      // GraphQL servers write the error and its `extensions`.
      sendProblem: (problem) => {
        throw problem;
      },
    },
  ],
]);

/** Returns the transport of a context; `undefined` for HTTP, and for kinds that the library does not cover. */
export function valueTransportOf(host: ArgumentsHost): ValueTransport | undefined {
  return TRANSPORTS.get(host.getType<string>());
}
