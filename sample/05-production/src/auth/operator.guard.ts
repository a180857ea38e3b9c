import { type ExecutionContext, ForbiddenException, Injectable, UnauthorizedException } from '@nestjs/common';
import { AuthGuard, PassportStrategy } from '@nestjs/passport';
import type { Request, Response } from 'express';
import { ExtractJwt, Strategy } from 'passport-jwt';
import { tokenRules } from './token-rules.js';

export const OPERATOR = 'operator';

export interface Operator {
  readonly id: string;
  readonly roles: readonly string[];
}

/** A browser that is asked for a name and a password: the password is the token. */
function passwordOf({ headers }: Request): string | null {
  const [scheme, credentials = ''] = headers.authorization?.split(' ') ?? [];
  if (scheme?.toLowerCase() !== 'basic') return null;
  const text = Buffer.from(credentials, 'base64').toString();
  return text.slice(text.indexOf(':') + 1);
}

/** A proxy with single sign-on in front of the page sends the token as a bearer. */
@Injectable()
export class OperatorStrategy extends PassportStrategy(Strategy, OPERATOR) {
  constructor() {
    super({
      ...tokenRules,
      jwtFromRequest: ExtractJwt.fromExtractors([ExtractJwt.fromAuthHeaderAsBearerToken(), passwordOf]),
    });
  }

  validate({ sub, roles }: { sub?: string; roles?: string[] }): Operator | false {
    return sub ? { id: sub, roles: roles ?? [] } : false;
  }
}

/** The page shows what customers sent, and settles their records: it takes a token with the role. */
@Injectable()
export class OperatorGuard extends AuthGuard(OPERATOR) {
  override handleRequest<TUser = Operator>(
    error: unknown,
    operator: Operator | false,
    _info: unknown,
    context: ExecutionContext,
  ): TUser {
    if (error || !operator) {
      context.switchToHttp().getResponse<Response>().setHeader('WWW-Authenticate', 'Basic realm="operators"');
      throw new UnauthorizedException();
    }
    if (!operator.roles.includes(OPERATOR)) throw new ForbiddenException('This page is for operators');
    return operator as TUser;
  }
}
