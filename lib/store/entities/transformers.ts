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
