/** https://github.com/iamolegga/nestjs-pino: every request's lines carry its id. */
import { Controller, Post, RequestMethod } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Logger, LoggerModule, PinoLogger } from 'nestjs-pino';
import { application, Effects } from '../harness.js';

interface Line {
  readonly msg: string;
  readonly req?: { readonly id: unknown };
  readonly res?: { readonly statusCode: number };
}

// The package keeps one logger for the process, with the stream of the first application.
let write: (text: string) => void = () => undefined;
const stream = { write: (text: string) => write(text) };

export default application({
  name: 'nestjs-pino',
  build: ({ adapter, Idempotent, note }) => {
    @Controller('cats')
    class CatsController {
      constructor(
        private readonly logger: PinoLogger,
        private readonly effects: Effects,
      ) {}

      @Post()
      @Idempotent()
      async create() {
        const id = await this.effects.add();
        this.logger.info('created');
        return { id };
      }
    }
    write = (text) => {
      const { msg, req, res } = JSON.parse(text) as Line;
      note([req?.id, msg, res?.statusCode].filter(Boolean).join(' '));
    };
    return {
      ...(adapter === 'fastify' && { httpAdapter: new FastifyAdapter({ requestIdHeader: 'x-request-id' }) }),
      imports: [
        LoggerModule.forRoot({
          // Nest's Fastify adapter does not match the package's own default.
          forRoutes: [{ path: '*splat', method: RequestMethod.ALL }],
          pinoHttp: [{ genReqId: (request) => request.headers['x-request-id'] as string }, stream],
        }),
      ],
      controllers: [CatsController],
    };
  },
  setup: (app) => app.useLogger(app.get(Logger)),
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats', headers: { 'X-Request-Id': 'r-7' } },
      status: 201,
      notes: ['r-7 created', 'r-7 request completed 201'],
      notesOfReplay: ['r-7 request completed 201'],
    },
  ],
});
