import { isDeepStrictEqual } from 'node:util';

/** What is read of graphql's GraphQLArgument and GraphQLInputField. */
export interface InputField {
  readonly name: string;
  readonly type: InputType;
  readonly defaultValue?: unknown;
}

/** What is read of graphql's input types: lists and types that are not null wrap another type, and input objects have fields. */
interface InputType {
  readonly ofType?: InputType;
  getFields?(): Readonly<Record<string, InputField>>;
}

/**
 * Returns arguments without those that have the value of their default in the schema, at any depth. A field with a default is how a schema
 * grows without a new version. A retry that reaches the new version, in which the schema has put the value in, would be another request
 * there (422), although its operation has run.
 */
export function withoutDefaults(args: object, fields: readonly InputField[]): unknown {
  const known = new Map(fields.map((field) => [field.name, field]));
  const given = Object.entries(args as Readonly<Record<string, unknown>>).flatMap(([name, value]) => {
    const { type, defaultValue } = known.get(name) ?? {};
    const own = type ? valueWithoutDefaults(value, type) : value;
    const isDefault =
      type && defaultValue !== undefined && isDeepStrictEqual(own, valueWithoutDefaults(defaultValue, type));
    return isDefault ? [] : [[name, own] as const];
  });
  return Object.fromEntries(given);
}

function valueWithoutDefaults(value: unknown, type: InputType): unknown {
  if (type.ofType) return valueWithoutDefaults(value, type.ofType);
  if (!type.getFields || typeof value !== 'object' || value === null) return value;
  const fields = Object.values(type.getFields());
  return Array.isArray(value) ? value.map((item) => valueWithoutDefaults(item, type)) : withoutDefaults(value, fields);
}
