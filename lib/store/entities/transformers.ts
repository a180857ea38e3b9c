import { types } from 'node:util';
import type { ValueTransformer } from 'typeorm';

/** Integers, which some drivers return as text or as a bigint. */
export const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number | bigint | null) => (value === null ? null : Number(value)),
};

/** Bytes, which an application's own type parser may return as a `Uint8Array`, and another SQLite than better-sqlite3 as an `ArrayBuffer`. */
export const asBuffer: ValueTransformer = {
  to: (value: unknown) => value,
  from: bufferOf,
};

/** Returns bytes as a Buffer, and anything else as it is. */
export function bufferOf(value: unknown): unknown {
  if (types.isAnyArrayBuffer(value)) return Buffer.from(value);
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value;
}

/** Instants, which an application's own type parser may return as an object of Luxon or Day.js. */
export const asDate: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: Date | number | null) => (value === null || value instanceof Date ? value : new Date(value)),
};

/** Instants that are stored as milliseconds since 1970, UTC. */
export const asMilliseconds: ValueTransformer = {
  to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
  from: (value: string | number | bigint | null) => (value === null ? null : new Date(Number(value))),
};
