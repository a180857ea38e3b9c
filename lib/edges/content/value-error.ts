import * as nest from '@nestjs/common';
import { HttpException } from '@nestjs/common';
import { fromValueJson, toValueJson, type ValueJson } from '../../engine/value-json.js';
import * as problems from '../../problems/index.js';
import { extensionsOf, isRpcException, type RpcExceptionLike } from '../../options/error-status.js';
import { type GrpcEntries, grpcMetadataOf, knowGrpcMetadata } from './grpc-metadata.js';

/** The names of prototypes of Nest and of this library: who catches an error may ask for its class. */
const NAMES: ReadonlyMap<object, string> = new Map(
  Object.entries({ ...nest, ...problems } as Record<string, unknown>).flatMap(([name, value]) => {
    const prototype: unknown = typeof value === 'function' ? value.prototype : undefined;
    return prototype instanceof HttpException ? [[prototype, name]] : [];
  }),
);

/** A stored error: what is needed to throw it again. Its stack is never stored. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  /** Of an HttpException. */
  readonly status?: number;
  readonly response?: string | object;
  /** The nearest class that all processes know. */
  readonly class?: string;
  /** What an RpcException sends to the client. */
  readonly payload?: ValueJson;
  /** Whether `metadata` of the payload is that of gRPC, such as the details of an error. */
  readonly grpc?: true;
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
    ...(error instanceof HttpException && {
      status: error.getStatus(),
      response: error.getResponse(),
      class: classNameOf(error),
    }),
    ...(isRpcException(error) && payloadOf(error)),
    ...(extensions && { extensions }),
  };
}

export async function toError(stored: StoredError): Promise<Error> {
  const { name, message, status, response, payload, grpc, extensions } = stored;
  const error =
    status !== undefined
      ? httpExceptionOf(response ?? message, status, stored.class)
      : payload
        ? await rpcExceptionOf(grpc ? withMetadata(fromValueJson(payload)) : fromValueJson(payload), message)
        : new Error(message);
  error.message = message;
  error.name = name;
  if (error instanceof problems.IdempotencyProblem) {
    const { code, retryable, retryAfter } = extensions as typeof error.extensions;
    return Object.assign(error, { code, retryable, retryAfter });
  }
  return extensions ? Object.assign(error, { extensions }) : error;
}

function classNameOf(error: HttpException): string | undefined {
  let prototype = Object.getPrototypeOf(error) as object;
  while (prototype !== HttpException.prototype && !NAMES.has(prototype)) prototype = Object.getPrototypeOf(prototype);
  return NAMES.get(prototype);
}

function httpExceptionOf(response: string | object, status: number, className: string | undefined): HttpException {
  const error = new HttpException(response, status);
  for (const [prototype, name] of NAMES) if (name === className) Object.setPrototypeOf(error, prototype);
  return error;
}

/** Returns what an RpcException sends. A KafkaRetriableException returns itself, which is no payload. */
function payloadOf(error: RpcExceptionLike): Pick<StoredError, 'payload' | 'grpc'> {
  const payload = error.getError();
  const { metadata } = (payload ?? {}) as { metadata?: unknown };
  return {
    payload: toValueJson(payload === error ? error.message : payload),
    ...(knowGrpcMetadata(metadata) && { grpc: true }),
  };
}

/** With a plain object in the place of metadata, the gRPC server throws where nothing catches it, and the process ends. */
function withMetadata(payload: unknown): object {
  const { metadata, ...others } = payload as { metadata: GrpcEntries };
  return { ...others, metadata: grpcMetadataOf(metadata) };
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
