import { randomUUID } from 'node:crypto';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Injectable,
  Post,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { Idempotent, NotIdempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

interface Request {
  readonly headers: Readonly<Record<string, string | undefined>>;
  user?: unknown;
}

/** Who is revoked, by name. */
export const revoked = new Set<string>();

/** Takes the user from a header, as JSON: what a guard makes of a token. */
@Injectable()
export class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<Request>();
    const { 'x-user': user } = request.headers;
    if (user === undefined) throw new UnauthorizedException();
    request.user = JSON.parse(user) as unknown;
    return !revoked.has(user);
  }
}

/** Lets every request in, and sets the user that its headers name, if any. */
@Injectable()
export class LenientGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<Request>();
    const { 'x-user': user } = request.headers;
    if (user !== undefined) request.user = JSON.parse(user) as unknown;
    return true;
  }
}

@Controller('principals')
@Idempotent()
export class PrincipalsController {
  @Post('user')
  @UseGuards(UserGuard)
  user() {
    ran();
    return { run: randomUUID() };
  }

  @Post('anonymous')
  anonymous() {
    ran();
    return { run: randomUUID() };
  }

  @Post(['let-in', 'let-in/bearing', 'let-in/known'])
  @UseGuards(LenientGuard)
  letIn() {
    ran();
    return { run: randomUUID() };
  }

  @Post('let-in/on-purpose')
  @UseGuards(LenientGuard)
  @Idempotent({ scope: () => '' })
  letInOnPurpose() {
    ran();
    return { run: randomUUID() };
  }

  @Post('by-tenant')
  @UseGuards(UserGuard)
  @Idempotent({ scope: (context) => context.switchToHttp().getRequest<{ user: { tenant: string } }>().user.tenant })
  byTenant() {
    ran();
    return { run: randomUUID() };
  }

  @Post('exempt')
  @NotIdempotent()
  exempt() {
    ran();
    return { run: randomUUID() };
  }
}
