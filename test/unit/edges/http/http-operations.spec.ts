import 'reflect-metadata';
import { All, type CanActivate, type ExecutionContext, Post, UseGuards } from '@nestjs/common';
import { Idempotent } from '../../../../lib/decorators/idempotent.decorator.js';
import { HttpOperations } from '../../../../lib/edges/http/http-operations.js';
import { OperationOptions } from '../../../../lib/handlers/operation-options.js';

const guard: CanActivate = { canActivate: () => true };

class Charges {
  @Idempotent()
  @UseGuards()
  create() {}

  @Idempotent({ operation: 'pay' })
  @Post('pay')
  @UseGuards(guard)
  pay() {}

  @Idempotent({ operation: 'put' })
  @All('any')
  any() {}

  list() {}
}

const contextOf = (handler: 'create' | 'pay' | 'any' | 'list') =>
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

it('names an operation with its method only where its route takes several', () => {
  const of = (handler: 'create' | 'pay' | 'any', endpoint: string) => {
    const { named, route, endpoint: own, label } = operations().of(contextOf(handler), { endpoint })!;
    return { named, route, endpoint: own, label };
  };
  const unnamed = { named: undefined, route: null, endpoint: 'POST /charges', label: 'POST /charges' };
  expect(of('create', 'POST /charges')).toEqual(unnamed);
  expect(of('pay', 'POST /pay')).toEqual({ named: 'pay\n', route: 'POST /pay', endpoint: 'pay', label: 'pay' });
  expect(of('any', 'PUT /any')).toEqual({ named: 'put\nPUT', route: 'PUT /any', endpoint: 'put', label: 'put' });
});

// As @nestjs-query generates its mutations: the log asked for a scope, though no guard lets anyone in.
it('takes @UseGuards() without a guard for none', () => {
  const guarded = (handler: 'create' | 'pay') => operations().of(contextOf(handler), { endpoint: 'POST /' })!.hasGuards;
  expect([guarded('create'), guarded('pay')]).toEqual([false, true]);
});
