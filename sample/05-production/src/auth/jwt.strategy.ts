import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import { ExtractJwt, Strategy } from 'passport-jwt';
import { tokenRules } from './token-rules.js';
import type { User } from './user.js';

@Injectable()
export class JwtStrategy extends PassportStrategy(Strategy) {
  constructor() {
    super({ ...tokenRules, jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken() });
  }

  validate({ sub }: { sub?: string }): User | false {
    return sub ? { id: sub } : false;
  }
}
