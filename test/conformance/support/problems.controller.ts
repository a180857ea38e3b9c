import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import {
  type ArgumentsHost,
  Body,
  Catch,
  Controller,
  type ExceptionFilter,
  Header,
  HttpException,
  Injectable,
  Post,
  StreamableFile,
} from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { Idempotent, IdempotencyKeyMissingException, IdempotencyProblem, NotIdempotent } from '../../../lib/index.js';
import { ran } from './cases.js';
import { late } from './late.js';

@Controller('problems')
@Idempotent()
export class ProblemsController {
  @Post()
  async post(@Body() body?: { held?: boolean }) {
    ran();
    if (body?.held) await late.run();
    return { run: randomUUID() };
  }

  @Post('short-lease')
  @Idempotent({ lease: '300ms' })
  shortLease() {
    ran();
    return { run: randomUUID(), secret: 'of the handler' };
  }

  @Post('too-large')
  @Idempotent({ response: { maxBytes: 10 } })
  tooLarge() {
    ran();
    return { run: randomUUID() };
  }

  @Post('file')
  @Header('Content-Encoding', 'gzip')
  @Header('Content-Disposition', 'attachment; filename="run.json"')
  file() {
    ran();
    return new StreamableFile(gzipSync(JSON.stringify({ run: randomUUID() })), { type: 'application/json' });
  }

  @Post('failing')
  failing() {
    ran();
    throw new Error('failed');
  }

  @Post('other')
  @NotIdempotent()
  other() {
    throw new HttpException('not ours', 418);
  }
}

/** Puts every error into a form of its own, as many applications do. */
@Injectable()
abstract class AnsweringFilter implements ExceptionFilter {
  protected abstract readonly type: string;
  constructor(private readonly host: HttpAdapterHost) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const status = error instanceof HttpException ? error.getStatus() : 500;
    const body = { type: this.type, message: (error as Error).message };
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), body, status);
  }
}

@Catch()
export class CatchAllFilter extends AnsweringFilter {
  protected readonly type = 'catch-all';
}

@Catch(HttpException)
export class HttpExceptionFilter extends AnsweringFilter {
  protected readonly type = 'http-exception';
}

@Catch(IdempotencyProblem)
export class OurProblemFilter extends AnsweringFilter {
  protected readonly type = 'our-problem';
}

@Catch(IdempotencyKeyMissingException)
export class KeyMissingFilter extends AnsweringFilter {
  protected readonly type = 'key-missing';
}

/** As of an application that reports errors, and leaves the answer to Nest. */
@Catch()
export class ReportingFilter extends BaseExceptionFilter {
  constructor({ httpAdapter }: HttpAdapterHost) {
    super(httpAdapter);
  }
}

export type FilterType = new (host: HttpAdapterHost) => ExceptionFilter;
