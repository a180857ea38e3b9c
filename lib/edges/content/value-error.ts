import { HttpException } from '@nestjs/common';
import { fromValueJson, toValueJson, type ValueJson } from '../../engine/value-json.js';
import { extensionsOf, isRpcException, type RpcExceptionLike } from '../../options/error-status.js';

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

interface RpcExceptionConstructor {
  new (error: string | object): RpcExceptionLike;
}

/** An RpcException with this payload, such as Nest's own filters and those of users expect one. */
async function rpcExceptionOf(payload: unknown, message: string): Promise<RpcExceptionLike> {
  const RpcException = await rpcExceptionClass();
  if (RpcException) return new RpcException(payload as string | object);
  return Object.assign(new Error(message), { getError: () => payload });
}

let loading: Promise<RpcExceptionConstructor | undefined> | undefined;

/** Loaded when the first error of a message handler is replayed: by then the application has loaded it. */
function rpcExceptionClass(): Promise<RpcExceptionConstructor | undefined> {
  return (loading ??= import('@nestjs/microservices').then(
    ({ RpcException }) => RpcException as RpcExceptionConstructor,
    () => undefined,
  ));
}
