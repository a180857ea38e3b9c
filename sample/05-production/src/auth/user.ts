import { createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';

/** `request.user`. The library takes `id` as the scope of keys: two users with the same key have two records. */
export interface User {
  readonly id: string;
}

export const CurrentUser = createParamDecorator(
  (_: unknown, context: ExecutionContext) => context.switchToHttp().getRequest<{ user: User }>().user,
);

export const IS_PUBLIC = 'isPublic';

/** A route without a token. */
export const Public = () => SetMetadata(IS_PUBLIC, true);
