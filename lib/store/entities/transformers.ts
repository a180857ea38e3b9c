import type { ValueTransformer } from 'typeorm';

/** `bigint` columns reach JavaScript as text on some drivers. */
export const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number | null) => (value === null ? null : Number(value)),
};

/** Instants where they are kept as milliseconds since 1970, UTC. */
export const asMilliseconds: ValueTransformer = {
  to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
  from: (value: string | number | null) => (value === null ? null : new Date(Number(value))),
};

/** Bytes where they are kept as text. */
export const asBase64: ValueTransformer = {
  to: (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value),
  from: (value: string | null) => (value === null ? null : Buffer.from(value, 'base64')),
};
