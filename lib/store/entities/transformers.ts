import type { ValueTransformer } from 'typeorm';

/** `bigint` columns reach JavaScript as text on some drivers. */
export const asNumber: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number | null) => (value === null ? null : Number(value)),
};

/** Instants are native timestamps on PostgreSQL, and milliseconds since 1970 (UTC) elsewhere. */
export const asDate: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: Date | string | number | null) =>
    value === null || value instanceof Date ? value : new Date(Number(value)),
};
