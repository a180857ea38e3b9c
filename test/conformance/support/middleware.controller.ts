import { randomUUID } from 'node:crypto';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Header,
  Post,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import { map, tap } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

interface HeaderSetter {
  header(name: string, value: string): HeaderSetter;
  send(body: unknown): HeaderSetter;
}

const envelope = {
  intercept: (_context: ExecutionContext, next: CallHandler) =>
    next.handle().pipe(map((data: unknown) => ({ data, wrapped: randomUUID() }))),
};

export const logged: string[] = [];
const logging = {
  intercept: (_context: ExecutionContext, next: CallHandler) => {
    logged.push('begun');
    return next.handle().pipe(
      tap({
        next: (value: unknown) => logged.push(`value ${JSON.stringify(value)}`),
        complete: () => logged.push('completed'),
        error: () => logged.push('failed'),
      }),
    );
  },
};

const headerAfter = {
  intercept: (context: ExecutionContext, next: CallHandler) =>
    next.handle().pipe(
      tap(() => {
        context.switchToHttp().getResponse<HeaderSetter>().header('X-Took', randomUUID());
      }),
    ),
};

@Controller('middleware')
@UseInterceptors(logging)
export class MiddlewareController {
  @Post('plain')
  @Idempotent()
  plain() {
    ran();
    return { id: randomUUID(), text: 'compressible '.repeat(200) };
  }

  @Post('short')
  @Idempotent()
  short() {
    ran();
    return { id: randomUUID() };
  }

  @Post('nothing')
  @Idempotent()
  nothing() {
    ran();
  }

  @Post('cookie')
  @Idempotent()
  cookie(@Res({ passthrough: true }) response: HeaderSetter) {
    ran();
    response.header('Set-Cookie', `session=${randomUUID()}; HttpOnly`).header('X-Kept', randomUUID());
    return { id: randomUUID() };
  }

  @Post('text')
  @Header('X-First', 'application/json')
  @Idempotent()
  text() {
    ran();
    return '{"looks":"like JSON"}';
  }

  @Post('json')
  @Header('X-First', 'text/plain')
  @Header('Content-Type', 'application/problem+json')
  @Idempotent()
  json() {
    ran();
    return { type: 'about:blank' };
  }

  @Post('no-json')
  @Header('Content-Type', 'application/json')
  @Idempotent()
  noJson(@Res() response: HeaderSetter) {
    ran();
    response.send('{"broken":');
  }

  @Post('native')
  @Idempotent()
  native(@Res() response: HeaderSetter) {
    ran();
    response.send({ id: randomUUID() });
  }

  @Post('envelope-outside')
  @Idempotent()
  @UseInterceptors(envelope)
  envelopeOutside() {
    ran();
    return { id: randomUUID() };
  }

  @Post('envelope-inside')
  @UseInterceptors(envelope)
  @Idempotent()
  envelopeInside() {
    ran();
    return { id: randomUUID() };
  }

  @Post('header-after')
  @Idempotent()
  @UseInterceptors(headerAfter)
  headerAfter() {
    ran();
    return { id: randomUUID() };
  }

  @Post('excluded')
  @Idempotent({ response: { headers: { exclude: ['X-Secret'] } } })
  excluded(@Res({ passthrough: true }) response: HeaderSetter) {
    ran();
    response.header('X-Secret', 'once').header('X-Public', 'always');
    return 'body';
  }

  @Post('included')
  @Idempotent({ response: { headers: { include: ['content-type', 'X-Public'] } } })
  included(@Res({ passthrough: true }) response: HeaderSetter) {
    ran();
    response.header('X-Secret', 'once').header('X-Public', 'always');
    return { body: true };
  }
}
