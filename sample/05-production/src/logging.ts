import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Params } from 'nestjs-pino';
import { config } from './config.js';

/** JSON lines to stdout, one for each request. Without headers: whoever has a token and a key has the response. */
export const logging: Params = {
  pinoHttp: {
    level: config.LOG_LEVEL,
    autoLogging: { ignore: ({ url }) => url?.startsWith('/health') ?? false },
    serializers: {
      req: ({ id, method, url }: IncomingMessage & { id: unknown }) => ({ id, method, url }),
      res: ({ statusCode }: ServerResponse) => ({ statusCode }),
    },
  },
};
