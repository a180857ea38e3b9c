import type { ValueTransformer } from 'typeorm';

/** Integers, which some drivers return as text or as a bigint. */
export const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number | bigint | null) => (value === null ? null : Number(value)),
};

/** Instants that are stored as milliseconds since 1970, UTC. */
export const asMilliseconds: ValueTransformer = {
  to: (value: unknown) => (value instanceof Date ? value.getTime() : value),
  from: (value: string | number | bigint | null) => (value === null ? null : new Date(Number(value))),
};
