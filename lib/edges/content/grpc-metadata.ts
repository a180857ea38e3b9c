import { hasMethod } from '../../engine/observables.js';

/** Metadata of gRPC as JSON. */
export type GrpcEntries = Readonly<Record<string, readonly (string | Buffer)[]>>;

/** Metadata of @grpc/grpc-js, which this library does not depend on. */
interface GrpcMetadata {
  readonly constructor: new () => GrpcMetadata;
  add(name: string, value: string | Buffer): void;
}

let MetadataClass: GrpcMetadata['constructor'] | undefined;

/** Returns whether a value is metadata of gRPC, and remembers its class for {@link grpcMetadataOf}. */
export function knowGrpcMetadata(value: unknown): boolean {
  if (!hasMethod(value, 'getMap') || !hasMethod(value, 'toHttp2Headers')) return false;
  MetadataClass = (value as GrpcMetadata).constructor;
  return true;
}

/** Returns metadata with these entries; `undefined` in a process that has seen none yet. */
export function grpcMetadataOf(entries: GrpcEntries): object | undefined {
  if (!MetadataClass) return undefined;
  const metadata = new MetadataClass();
  for (const [name, values] of Object.entries(entries)) for (const value of values) metadata.add(name, value);
  return metadata;
}
