import { Readable } from 'node:stream';
import { Controller, type NestInterceptor, Post, StreamableFile, UseInterceptors } from '@nestjs/common';
import { map } from 'rxjs';
import { randomUUID } from 'node:crypto';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { Row, stage } from './handler-calls.controller.js';

const call = () => stage.script.call();

async function write(execution: Execution) {
  await execution.manager.insert(Row, { id: randomUUID(), key: execution.key });
  return call();
}

const failing: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      map(() => {
        throw new Error('the audit log is down');
      }),
    ),
};

@Controller('hunted')
export class HuntedController {
  @Post('outcome-async')
  @Idempotent({ outcome: (async () => Promise.resolve('store')) as never })
  outcomeAsync() {
    return call();
  }

  @Post('outcome-rejects')
  @Idempotent({ outcome: (() => Promise.reject(new Error('in the option'))) as never })
  outcomeRejects() {
    return call();
  }

  @Post('outcome-undefined')
  @Idempotent({ outcome: (() => undefined) as never })
  outcomeUndefined() {
    return call();
  }

  @Post('outcome-null')
  @Idempotent({ outcome: (() => null) as never })
  outcomeNull() {
    return call();
  }

  @Post('outcome-garbage')
  @Idempotent({ outcome: (() => 'keep') as never })
  outcomeGarbage() {
    return call();
  }

  @Post('outcome-retention')
  @Idempotent({ outcome: () => ({ store: true, retention: 'nonsense' }) as never })
  outcomeRetention() {
    return call();
  }

  @Post('outcome-undefined-tx')
  @Idempotent({ transactional: true, outcome: (() => undefined) as never })
  outcomeUndefinedTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('file')
  @UseInterceptors(failing)
  @Idempotent()
  async file() {
    await call();
    return new StreamableFile(Buffer.from('receipt'));
  }

  @Post('stream')
  @UseInterceptors(failing)
  @Idempotent()
  async stream() {
    await call();
    return new StreamableFile(Readable.from(['receipt']));
  }
}
