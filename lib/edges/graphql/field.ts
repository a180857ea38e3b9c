import type { ExecutionContext } from '@nestjs/common';
import type { CallerRequest } from '../caller/principal.js';
import { type InputField, withoutDefaults } from './defaults.js';

/** The members of graphql's GraphQLResolveInfo that are read. */
interface ResolveInfo {
  readonly fieldName: string;
  readonly parentType: { getFields(): Readonly<Record<string, { readonly args: readonly InputField[] }>> };
  readonly path: { readonly prev: unknown; readonly key: string | number };
  readonly operation: { readonly operation: string; readonly loc?: { readonly source: { readonly body: string } } };
  readonly variableValues: object;
}

/** An Express or a Fastify request. */
export interface GraphQLRequest extends CallerRequest {
  readonly rawHeaders?: readonly string[];
  readonly raw?: { readonly rawHeaders?: readonly string[] };
  readonly body?: unknown;
}

interface GraphQLContext {
  readonly req?: GraphQLRequest;
  readonly request?: GraphQLRequest;
  /** Mercurius sets it beside what the application has in its context. */
  readonly reply?: { readonly request?: GraphQLRequest };
}

/** A root field of a mutation. */
export interface MutationField {
  readonly name: string;
  /** The alias that the client gave to the field, or its name. */
  readonly responseName: string;
  /** The arguments that differ from their defaults in the schema. */
  readonly args: () => unknown;
  /** The HTTP request, if the GraphQL context has it as `req` or `request`, or its `reply` has it. */
  readonly request: GraphQLRequest | undefined;
  /** What an HTTP request with several operations has for each of them: the text of the query, and an object of its own. */
  readonly execution: { readonly query: string | undefined; readonly variables: object };
}

/** Returns `undefined` if the handler resolves something else: a query, a subscription, or a field below the root. */
export function mutationFieldOf(context: ExecutionContext): MutationField | undefined {
  const [, args, graphql, info] = context.getArgs<[unknown, object, GraphQLContext?, ResolveInfo?]>();
  if (info?.operation?.operation !== 'mutation' || info.path.prev !== undefined) return undefined;
  const request = graphql?.req ?? graphql?.request ?? graphql?.reply?.request;
  return {
    name: info.fieldName,
    responseName: String(info.path.key),
    args: () => withoutDefaults(args, info.parentType.getFields()[info.fieldName].args),
    request: request?.headers ? request : undefined,
    execution: { query: info.operation.loc?.source.body, variables: info.variableValues },
  };
}
