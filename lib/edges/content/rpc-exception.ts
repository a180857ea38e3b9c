/** What an `RpcException` of @nestjs/microservices is known by; that package need not be there. */
export interface RpcExceptionLike extends Error {
  getError(): unknown;
}

interface RpcExceptionConstructor {
  new (error: string | object): RpcExceptionLike;
}

/** The HTTP status for each gRPC status code, by the table in google/rpc/code.proto. */
const STATUS_OF_GRPC_CODE = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

export function isRpcException(error: unknown): error is RpcExceptionLike {
  return error instanceof Error && typeof (error as Partial<RpcExceptionLike>).getError === 'function';
}

/**
 * The status that an RpcException stands for: the `status` or `statusCode` of its payload, or its gRPC `code`. One
 * without says that the handler has answered with an error of its own choosing: 400. A KafkaRetriableException: 503.
 */
export function statusOfRpcException(error: RpcExceptionLike): number {
  const payload = error.getError();
  if (payload === error) return 503;
  const { status, statusCode, code } = (typeof payload === 'object' && payload !== null ? payload : {}) as Record<
    string,
    unknown
  >;
  const told = [status, statusCode].find((one) => typeof one === 'number' && one >= 100 && one < 600);
  return (told as number | undefined) ?? STATUS_OF_GRPC_CODE[code as number] ?? 400;
}

/** An RpcException with this payload, such as Nest's own filters and those of users expect one. */
export async function rpcExceptionOf(payload: unknown, message: string): Promise<RpcExceptionLike> {
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
