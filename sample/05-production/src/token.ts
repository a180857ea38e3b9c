/**
 * `npm run token -- alice`: a token for trying things out, where an identity provider would give one. Further words are roles:
 * `npm run token -- olga operator`.
 */
import { JwtService } from '@nestjs/jwt';
import { environment, readEnvironment } from './environment.js';

const { JWT_SECRET, JWT_ISSUER, JWT_AUDIENCE } = readEnvironment(
  environment.pick({ JWT_SECRET: true, JWT_ISSUER: true, JWT_AUDIENCE: true }),
  process.env,
);

const [subject = 'alice', ...roles] = process.argv.slice(2);
const jwt = new JwtService({ secret: JWT_SECRET });
console.log(jwt.sign({ roles }, { subject, issuer: JWT_ISSUER, audience: JWT_AUDIENCE, expiresIn: '1h' }));
