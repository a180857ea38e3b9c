import type { Params } from 'nestjs-pino';
import { config } from './config.js';

/** JSON lines to stdout, one for each request. */
export const logging: Params = {
  pinoHttp: {
    level: config.LOG_LEVEL,
    autoLogging: { ignore: ({ url }) => url?.startsWith('/health') ?? false },
    // Whoever has a token and a key has the response.
    redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["idempotency-key"]'],
  },
};
