import { HttpException } from '@nestjs/common';
import { fromValueJson, toValueJson, type ValueJson } from '../../engine/value-json.js';
import { extensionsOf, isRpcException, type RpcExceptionLike } from '../../options/error-status.js';

/** A stored error: what is needed to throw it again. Its stack is never stored. */
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

/** Returns what an RpcException sends. A KafkaRetriableException returns itself, which is no payload. */
function payloadOf(error: RpcExceptionLike): ValueJson {
  const payload = error.getError();
  return toValueJson(payload === error ? error.message : payload);
}

type RpcExceptionConstructor = new (error: string | object) => RpcExceptionLike;

/** Returns an RpcException, which the filters of Nest and of applications recognise. */
async function rpcExceptionOf(payload: unknown, message: string): Promise<RpcExceptionLike> {
  const RpcException = await rpcExceptionClass();
  if (RpcException) return new RpcException(payload as string | object);
  return Object.assign(new Error(message), { getError: () => payload });
}

let loading: Promise<RpcExceptionConstructor | undefined> | undefined;

/** Loads the optional package for the first replayed error of a message handler. The application has loaded it by then. */
function rpcExceptionClass(): Promise<RpcExceptionConstructor | undefined> {
  return (loading ??= import('@nestjs/microservices').then(
    ({ RpcException }) => RpcException as RpcExceptionConstructor,
    () => undefined,
  ));
}
