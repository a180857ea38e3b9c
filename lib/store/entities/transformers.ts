import type { ValueTransformer } from 'typeorm';

/** Integers reach JavaScript as text, or as a bigint, where a driver or its options say so. */
export const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number | bigint | null) => (value === null ? null : Number(value)),
};

/** Instants where they are kept as milliseconds since 1970, UTC. */
export const asMilliseconds: ValueTransformer = {
  to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
  from: (value: string | number | bigint | null) => (value === null ? null : new Date(Number(value))),
};

/** Bytes where they are kept as text. */
export const asBase64: ValueTransformer = {
  to: (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value),
  from: (value: string | null) => (value === null ? null : Buffer.from(value, 'base64')),
};
