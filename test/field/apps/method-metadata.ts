/**
 * Decorators that look the method up, as `@Override()` of @dataui/crud and `@TypedException()` of @nestia/core do. While a class is
 * declared, its prototype still has the method without what other decorators have made of it.
 */
import assert from 'node:assert/strict';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  Injectable,
  Post,
  UseGuards,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { application, Effects } from '../harness.js';

const Roles =
  (...roles: string[]): MethodDecorator =>
  (target, key) =>
    Reflect.defineMetadata('roles', roles, (target as Record<typeof key, object>)[key]);

/** https://docs.nestjs.com/guards: a handler without roles is for everyone. */
@Injectable()
class RolesGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const roles = this.reflector.get<string[] | undefined>('roles', context.getHandler());
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    if (!roles || roles.includes(headers['x-role'])) return true;
    throw new ForbiddenException();
  }
}

export default application({
  name: 'decorators that look the method up',
  build: ({ Idempotent }) => {
    @Controller('payments')
    @UseGuards(RolesGuard)
    class PaymentsController {
      constructor(private readonly effects: Effects) {}

      @Post('above')
      @Roles('teller')
      @Idempotent({ scope: () => 'tellers' })
      async above() {
        return { id: await this.effects.add() };
      }

      @Post('below')
      @Idempotent({ scope: () => 'tellers' })
      @Roles('teller')
      async below() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [PaymentsController] };
  },
  exchanges: ['/payments/above', '/payments/below'].flatMap((path) => [
    {
      name: path,
      request: { path, headers: { 'X-Role': 'teller' } },
      status: 201,
      check: async (client, request) => {
        const { status } = await client.send({ ...request, headers: { 'X-Role': 'guest' } });
        assert.equal(status, 403, 'a replay for who may not call it');
      },
    },
    { name: `${path}, another role`, request: { path, headers: { 'X-Role': 'guest' } }, status: 403, retry: 'rerun' },
  ]),
});
