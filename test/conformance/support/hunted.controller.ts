import { Readable } from 'node:stream';
import { Controller, type NestInterceptor, Post, StreamableFile, UseInterceptors } from '@nestjs/common';
import { map, mergeMap, retry, timeout } from 'rxjs';
import { randomUUID } from 'node:crypto';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { Row, stage as calls } from './handler-calls.controller.js';

export const stage = Object.assign(calls, { charges: 0 });

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

const retrying: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(retry({ count: 2, delay: 5 })) };
const impatient: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(timeout(60), retry(1)) };
/** As ts-rest has it: the handler returns what is to be done. */
const doing: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      mergeMap((work: () => Promise<unknown>) => work()),
      retry(2),
    ),
};

const charge = (execution: Execution) => execution.step('charge', () => ({ charge: ++stage.charges }));

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

  @Post('steps-outside')
  @Idempotent()
  @UseInterceptors(retrying)
  async stepsOutside(@IdempotentExecution() execution: Execution) {
    return { ...(await charge(execution)), ...(await call()) };
  }

  @Post('steps-inside')
  @UseInterceptors(retrying)
  @Idempotent()
  async stepsInside(@IdempotentExecution() execution: Execution) {
    return { ...(await charge(execution)), ...(await call()) };
  }

  @Post('steps-work')
  @UseInterceptors(doing)
  @Idempotent()
  stepsOfWork(@IdempotentExecution() execution: Execution) {
    return async () => ({ ...(await charge(execution)), ...(await call()) });
  }

  @Post('steps-tx')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true })
  async stepsTransactional(@IdempotentExecution() execution: Execution) {
    return { ...(await charge(execution)), ...(await write(execution)) };
  }

  @Post('steps-impatient')
  @UseInterceptors(impatient)
  @Idempotent()
  stepsImpatient(@IdempotentExecution() execution: Execution) {
    return execution.step('charge', call);
  }

  @Post('steps-twice')
  @UseInterceptors(retrying)
  @Idempotent()
  async stepsTwice(@IdempotentExecution() execution: Execution) {
    await call();
    await charge(execution);
    return charge(execution);
  }
}
