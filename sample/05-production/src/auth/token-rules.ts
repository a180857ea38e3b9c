import { config } from '../config.js';

/** With an identity provider, take its public keys by `secretOrKeyProvider`, and its algorithm. */
export const tokenRules = {
  secretOrKey: config.JWT_SECRET,
  issuer: config.JWT_ISSUER,
  audience: config.JWT_AUDIENCE,
  algorithms: ['HS256' as const],
};
