import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { mutationFieldOf } from '../../../../lib/edges/graphql/field.js';
import { graphqlRequest } from '../../../../lib/edges/graphql/graphql-request.js';
import type { ValueEdge } from '../../../../lib/edges/values/value-edge.js';

const request = { headers: { 'idempotency-key': 'k' } };
const info = {
  fieldName: 'pay',
  path: { prev: undefined, key: 'pay' },
  operation: { operation: 'mutation' },
  variableValues: {},
};

const requestIn = (context: object | undefined) =>
  mutationFieldOf(new ExecutionContextHost([undefined, {}, context, info]))!.request;

describe('the HTTP request of a mutation', () => {
  test.each([
    ['req, as Nest has it for Apollo and Mercurius', { req: request }],
    ['request, as a function `context` may call it', { request }],
    ['that of the reply, as Mercurius has it without `context`: in a subgraph', { reply: { request } }],
    ['req, before those of others', { req: request, request: { headers: {} }, reply: { request: { headers: {} } } }],
  ])('is %s', (_, context) => {
    expect(requestIn(context)).toBe(request);
  });

  test.each([
    ['without a context', undefined],
    ['in an empty context', {}],
    ['where it has no headers', { req: {} }],
    ['where the reply has none', { reply: {} }],
  ])('is missing %s', (_, context) => {
    expect(requestIn(context)).toBeUndefined();
  });
});

describe('where the context has no request', () => {
  const edge = {
    module: { header: 'Idempotency-Key' },
    operations: { of: () => ({ policy: {}, fingerprint: {} }) },
  } as unknown as ValueEdge;
  const host = (context: object) => new ExecutionContextHost([undefined, {}, context, info], class {}, () => undefined);

  test.each([
    ['the refusal says so', {}, 'header, and the GraphQL context has no request as `req`.'],
    ['and only then', { reply: { request: { headers: {} } } }, 'header.'],
  ])('%s', (_, context, end) => {
    const { readKey, keyExpected } = graphqlRequest(host(context), edge)!;
    expect(readKey()).toBeUndefined();
    expect(keyExpected('Idempotency-Key')).toBe(`This mutation requires the Idempotency-Key ${end}`);
  });
});
