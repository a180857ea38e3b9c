import { HttpException } from '@nestjs/common';
import { isRpcException, type RpcExceptionLike, rpcExceptionOf, statusOfRpcException } from './rpc-exception.js';
import { fromValueJson, toValueJson, type ValueJson } from '../../engine/value-json.js';

/** An error as it is kept: enough to be thrown again. Never its stack. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  /** Of an HttpException. */
  readonly status?: number;
  readonly response?: string | object;
  /** What an RpcException sends to the client. */
  readonly payload?: ValueJson;
  /** Of a GraphQLError. */
  readonly extensions?: object;
}

/** The code that GraphQL servers give to an error without one. */
const NO_CODE = 'INTERNAL_SERVER_ERROR';

/**
 * The status that stands for an error outside HTTP. Errors that were made to be told to the client, an RpcException or a
 * GraphQLError with a code, stand for 400 unless they carry a status; all others, for 500.
 */
export function statusOfError(error: unknown): number {
  if (error instanceof HttpException) return error.getStatus();
  if (isRpcException(error)) return statusOfRpcException(error);
  const { http, code } = (extensionsOf(error) ?? {}) as { http?: { status?: unknown }; code?: unknown };
  if (typeof http?.status === 'number') return http.status;
  return isGraphQLError(error) && typeof code === 'string' && code !== NO_CODE ? 400 : 500;
}

export function toStoredError(error: unknown): StoredError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message } = error;
  const extensions = extensionsOf(error);
  return {
    name,
    message,
    ...(error instanceof HttpException && { status: error.getStatus(), response: error.getResponse() }),
    ...(isRpcException(error) && { payload: payloadOf(error) }),
    ...(extensions && { extensions }),
  };
}

export async function toError({ name, message, status, response, payload, extensions }: StoredError): Promise<Error> {
  const error =
    status !== undefined
      ? new HttpException(response ?? message, status)
      : payload
        ? await rpcExceptionOf(fromValueJson(payload), message)
        : new Error(message);
  error.message = message;
  error.name = name;
  return extensions ? Object.assign(error, { extensions }) : error;
}

/** A KafkaRetriableException gives itself. */
function payloadOf(error: RpcExceptionLike): ValueJson {
  const payload = error.getError();
  return toValueJson(payload === error ? error.message : payload);
}

function isGraphQLError(error: unknown): boolean {
  return error instanceof Error && error.name === 'GraphQLError';
}

function extensionsOf(error: unknown): object | undefined {
  const { extensions } = (error ?? {}) as { extensions?: unknown };
  return typeof extensions === 'object' && extensions !== null ? extensions : undefined;
}
