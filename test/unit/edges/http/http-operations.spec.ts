import 'reflect-metadata';
import type { ExecutionContext } from '@nestjs/common';
import { Idempotent } from '../../../../lib/decorators/idempotent.decorator.js';
import { HttpOperations } from '../../../../lib/edges/http/http-operations.js';
import { OperationOptions } from '../../../../lib/handlers/operation-options.js';

class Charges {
  @Idempotent()
  create() {}

  list() {}
}

const contextOf = (handler: 'create' | 'list') =>
  ({ getClass: () => Charges, getHandler: () => Charges.prototype[handler] }) as unknown as ExecutionContext;

const operations = () =>
  new HttpOperations(new OperationOptions({ defaults: {} }), { documentation: undefined, errors: {} as never });

it('works an operation out once for each of its routes', () => {
  const of = operations();
  const [one, other] = ['POST /charges', 'POST /v2/charges'].map((endpoint) =>
    of.of(contextOf('create'), { endpoint }),
  );
  expect([one!.template, other!.template, one!.watched]).toEqual(['POST /charges', 'POST /v2/charges', true]);
  expect(of.of(contextOf('create'), { endpoint: 'POST /charges' })).toBe(one);
});

it('does not look at the route of what is not covered: others than routers call handlers, too', () => {
  const exchange = {
    get endpoint(): string {
      throw new TypeError("Cannot read properties of undefined (reading 'path')");
    },
  };
  expect(operations().of(contextOf('list'), exchange)).toBeUndefined();
});
