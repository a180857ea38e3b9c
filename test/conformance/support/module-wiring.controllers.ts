import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import {
  All,
  Body,
  Controller,
  Delete,
  Get,
  Injectable,
  type MessageEvent,
  Post,
  RequestTimeoutException,
  Scope,
  Sse,
  UseInterceptors,
  Version,
} from '@nestjs/common';
import { catchError, of, throwError, timeout } from 'rxjs';
import {
  type Execution,
  Idempotent,
  IdempotencyInterceptor,
  IdempotencyKey,
  IdempotentExecution,
  NotIdempotent,
} from '../../../lib/index.js';
import { ran } from './cases.js';

const answer = (more: object = {}) => {
  ran();
  return { run: randomUUID(), ...more };
};

/** Called by what is no HTTP, though Nest's ExternalContextCreator says so. */
@Injectable()
export class Consumer {
  consume(message: unknown): unknown {
    return { got: message };
  }
}

@Controller('manual')
@UseInterceptors(IdempotencyInterceptor)
export class WiredByHandController {
  @Post()
  post() {
    return answer();
  }

  @Get()
  get() {
    return answer();
  }
}

@Controller('plain')
export class PlainController {
  @Post()
  @Idempotent()
  post() {
    return answer();
  }

  @Post('unmarked')
  unmarked() {
    return answer();
  }

  @Get()
  get() {
    return answer();
  }

  @Post('optional')
  @Idempotent({ required: false })
  optional(@IdempotencyKey() key: string | undefined, @IdempotentExecution() execution: Execution | undefined) {
    return answer({ key: key ?? null, attempt: execution?.attempt ?? null });
  }

  @Post('webhook')
  @Idempotent({ key: (context) => context.switchToHttp().getRequest<{ body: { id?: never } }>().body.id })
  webhook(@IdempotencyKey() key: string) {
    return answer({ key });
  }

  @Post('scoped')
  @Idempotent({
    scope: (context) => context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-tenant'],
  })
  scoped() {
    return answer();
  }

  @Post('scoped-async')
  @Idempotent({ scope: (async () => 'tenant') as never })
  scopedAsync() {
    return answer();
  }

  @Post('fingerprint-async')
  @Idempotent({ fingerprint: (async () => 'text') as never })
  fingerprintAsync() {
    return answer();
  }
}

@Controller('covered')
@Idempotent({ required: true, response: { maxBytes: 10_000 } })
export class CoveredController {
  @Post()
  post() {
    return answer();
  }

  @Delete()
  delete() {
    return answer();
  }

  @Get()
  get() {
    return answer();
  }

  @Post('exempt')
  @NotIdempotent()
  exempt() {
    return answer();
  }

  @Post('overridden')
  @Idempotent({ required: false })
  overridden() {
    return answer();
  }

  @Sse('events')
  events() {
    return of<MessageEvent>({ data: 'one' });
  }
}

@Controller({ path: 'per-request', scope: Scope.REQUEST })
@Idempotent()
export class PerRequestController {
  private readonly id = randomUUID();

  @Post()
  post(@Body() body: object) {
    return answer({ controller: this.id, body });
  }
}

@Controller({ path: 'versioned' })
export class VersionedController {
  @Post()
  @Version('1')
  @Idempotent()
  one() {
    return answer({ version: 1 });
  }

  @Post()
  @Version('2')
  @Idempotent()
  two() {
    return answer({ version: 2 });
  }
}

const within = {
  intercept: (_context: unknown, next: { handle(): ReturnType<typeof of> }) =>
    next.handle().pipe(
      timeout(40),
      catchError(() => throwError(() => new RequestTimeoutException())),
    ),
};

/** Emits `end` for the requests that wait for it. */
export const waiting = new EventEmitter();

abstract class CrudController {
  @Post()
  @UseInterceptors(within)
  async create(@Body() { waits = false }: { waits?: boolean }) {
    const answered = answer();
    if (waits) await once(waiting, 'end');
    return answered;
  }
}

@Controller('inherited')
@Idempotent()
export class InheritedController extends CrudController {}

@Controller('inherited-too')
export class UnprotectedController extends CrudController {}

@Controller('audited')
export class AuditedController {
  @Post('a')
  decidedNot() {
    return answer();
  }

  @All('b')
  all() {
    return answer();
  }

  @Post('c')
  @NotIdempotent()
  exempt() {
    return answer();
  }

  @Get('d')
  get() {
    return answer();
  }
}

@Controller('sse')
export class SseController {
  @Sse()
  @Idempotent()
  events() {
    return of<MessageEvent>({ data: 'one' });
  }
}
