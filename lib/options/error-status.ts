import { HttpException } from '@nestjs/common';

/** Recognises an `RpcException` without @nestjs/microservices, which is optional. */
export interface RpcExceptionLike extends Error {
  getError(): unknown;
}

/** The code that GraphQL servers give to an error that has none. */
const NO_CODE = 'INTERNAL_SERVER_ERROR';

/**
 * Returns the HTTP status that corresponds to an error. An RpcException or a GraphQLError with a code is meant for the client: 400, unless
 * it has a status. Any other error is 500.
 */
export function statusOfError(error: unknown): number {
  if (error instanceof HttpException) return error.getStatus();
  if (isRpcException(error)) return statusOfRpcException(error);
  const { http, code } = (extensionsOf(error) ?? {}) as { http?: { status?: unknown }; code?: unknown };
  if (typeof http?.status === 'number') return http.status;
  return isGraphQLError(error) && typeof code === 'string' && code !== NO_CODE ? 400 : 500;
}

export function isRpcException(error: unknown): error is RpcExceptionLike {
  return error instanceof Error && typeof (error as Partial<RpcExceptionLike>).getError === 'function';
}

/** The HTTP status for each gRPC status code, by the table in google/rpc/code.proto. */
const STATUS_OF_GRPC_CODE = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

/**
 * Returns the `status` or `statusCode` of an RpcException's payload, or the status of its gRPC `code`, and otherwise 400. A
 * KafkaRetriableException, which is its own payload, is 503.
 */
function statusOfRpcException(error: RpcExceptionLike): number {
  const payload = error.getError();
  if (payload === error) return 503;
  const { status, statusCode, code } = (typeof payload === 'object' && payload !== null ? payload : {}) as Record<
    string,
    unknown
  >;
  const given = [status, statusCode].find((one) => typeof one === 'number' && one >= 100 && one < 600);
  return (given as number | undefined) ?? STATUS_OF_GRPC_CODE[code as number] ?? 400;
}

function isGraphQLError(error: unknown): boolean {
  return error instanceof Error && error.name === 'GraphQLError';
}

export function extensionsOf(error: unknown): object | undefined {
  const { extensions } = (error ?? {}) as { extensions?: unknown };
  return typeof extensions === 'object' && extensions !== null ? extensions : undefined;
}
