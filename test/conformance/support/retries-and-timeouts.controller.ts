import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import {
  type ArgumentsHost,
  Catch,
  ConflictException,
  Controller,
  type ExceptionFilter,
  Next,
  type NestInterceptor,
  Post,
  Res,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import {
  catchError,
  defer,
  delay,
  first,
  interval,
  map,
  mergeMap,
  of,
  raceWith,
  retry,
  throwError,
  TimeoutError,
} from 'rxjs';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';

/** What an operation does, beside its answer. */
@Entity('row')
export class Row {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 36 }) key!: string;
}

export interface PlatformResponse extends Partial<ServerResponse> {
  readonly raw?: ServerResponse;
  status(code: number): PlatformResponse;
  send(body: unknown): unknown;
}

/** What handlers do, one call after another, and what they wait for: set by each test. */
export class Script {
  calls = 0;
  running = 0;
  mostAtOnce = 0;
  effects = 0;
  private readonly gates = new Map<number, { opened: Promise<void>; open: () => void }>();

  /** @param fails the calls that fail, by their number from 1 */
  constructor(
    private readonly settings: {
      readonly fails?: readonly number[];
      readonly waits?: readonly number[];
      readonly error?: Error;
    } = {},
  ) {}

  open(call: number): void {
    this.gate(call).open();
  }

  async call(): Promise<{ call: number; id: string }> {
    const call = ++this.calls;
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.running);
    try {
      if (this.settings.waits?.includes(call)) await this.gate(call).opened;
      if (this.settings.fails?.includes(call)) throw this.settings.error ?? new Error('a transient failure');
      this.effects++;
      return { call, id: randomUUID() };
    } finally {
      this.running--;
    }
  }

  private gate(call: number) {
    let gate = this.gates.get(call);
    if (!gate) {
      let open!: () => void;
      const opened = new Promise<void>((resolve) => (open = resolve));
      this.gates.set(call, (gate = { opened, open }));
    }
    return gate;
  }
}

export const stage = { script: new Script() };

const retrying: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(retry({ count: 2, delay: 5 })) };
const retryingAtOnce: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(retry(2)) };
/** Answers later than the handler, as an interceptor does that asks elsewhere first. */
const retryingAndSlow: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(retry({ count: 2, delay: 5 }), delay(100)),
};
/** As in Nest's documentation, and once more; but its time begins with a call, however long it takes to come to that. */
const impatient = (calls: () => number): NestInterceptor => ({
  intercept: (_context, next) => {
    let due = calls();
    const late = defer(() => {
      const call = ++due;
      return interval(5).pipe(
        first(() => calls() >= call),
        delay(60),
        mergeMap(() => throwError(() => new TimeoutError())),
      );
    });
    return next.handle().pipe(raceWith(late), retry(1));
  },
});
/** The second call waits until the first has ended. */
const waitingForEachOther = impatient(() => (stage.script.running > 0 ? Infinity : 0));
const impatientForEach = impatient(() => stage.script.calls);
const forgiving: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(catchError(() => of({ success: false }))),
};
const mapping: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(catchError(() => throwError(() => new Error('mapped')))),
};
const slow: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(delay(1_300)) };
/** As ts-rest has it: the handler returns what is to be done. */
const doing: NestInterceptor = {
  intercept: (_context, next) =>
    next
      .handle()
      .pipe(
        mergeMap((work: (() => Promise<unknown>) | { run: () => Promise<unknown> }) =>
          typeof work === 'function' ? work() : work.run(),
        ),
      ),
};
const unserializable: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      map(() => {
        throw new Error('cannot be serialized');
      }),
    ),
};

@Catch()
class Envelope implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost) {
    const response = host.switchToHttp().getResponse<PlatformResponse>();
    response.status(200).send({ code: 1, message: error.message });
  }
}

const call = () => stage.script.call();

async function write(execution: Execution) {
  await execution.manager.insert(Row, { id: randomUUID(), key: execution.key });
  return call();
}

/** An interceptor whose decorator stands above `@Idempotent()` is inside of it, as decorators apply from below. */
@Controller('calls')
export class RetriesController {
  @Post('plain')
  @Idempotent()
  plain() {
    return call();
  }

  @Post('plain-tx')
  @Idempotent({ transactional: true })
  plainTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('retry-outside')
  @Idempotent()
  @UseInterceptors(retrying)
  retryOutside() {
    return call();
  }

  @Post('retry-outside-slow')
  @Idempotent()
  @UseInterceptors(retryingAndSlow)
  retryOutsideSlow() {
    return call();
  }

  @Post('retry-outside-at-once')
  @Idempotent()
  @UseInterceptors(retryingAtOnce)
  retryOutsideAtOnce() {
    return call();
  }

  @Post('retry-inside')
  @UseInterceptors(retrying)
  @Idempotent()
  retryInside() {
    return call();
  }

  @Post('retry-outside-tx')
  @Idempotent({ transactional: true })
  @UseInterceptors(retrying)
  retryOutsideTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('retry-inside-tx')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true })
  retryInsideTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('impatient-inside')
  @UseInterceptors(impatientForEach)
  @Idempotent()
  impatientInside() {
    return call();
  }

  @Post('impatient-outside')
  @Idempotent()
  @UseInterceptors(impatientForEach)
  impatientOutside() {
    return call();
  }

  @Post('impatient-inside-tx')
  @UseInterceptors(waitingForEachOther)
  @Idempotent({ transactional: true })
  impatientInsideTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('slow-inside')
  @UseInterceptors(slow)
  @Idempotent()
  slowInside() {
    return call();
  }

  @Post('work')
  @UseInterceptors(doing)
  @Idempotent()
  work() {
    return call;
  }

  @Post('work-outside')
  @Idempotent()
  @UseInterceptors(doing)
  workOutside() {
    return call;
  }

  @Post('work-of-an-object')
  @UseInterceptors(doing)
  @Idempotent()
  workOfAnObject() {
    return { run: call };
  }

  @Post('unserializable-inside')
  @UseInterceptors(unserializable)
  @Idempotent()
  unserializableInside() {
    return call();
  }

  @Post('unserializable-outside')
  @Idempotent()
  @UseInterceptors(unserializable)
  unserializableOutside() {
    return call();
  }

  @Post('unserializable-tx')
  @Idempotent({ transactional: true })
  @UseInterceptors(unserializable)
  unserializableTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('callback')
  @Idempotent({ lease: '1s' })
  callback(@Res() response: PlatformResponse) {
    void answer(response);
  }

  @Post('callback-unlimited')
  @Idempotent()
  callbackWithLongLease(@Res() response: PlatformResponse) {
    void answer(response);
  }

  @Post('next')
  @Idempotent()
  next(@Res() response: PlatformResponse, @Next() _next: () => void) {
    void answer(response);
  }

  @Post('native')
  @Idempotent()
  async native(@Res() response: PlatformResponse) {
    await answer(response);
  }

  @Post('native-tx')
  @Idempotent({ transactional: true })
  async nativeTransactional(@IdempotentExecution() execution: Execution, @Res() response: PlatformResponse) {
    await execution.manager.insert(Row, { id: randomUUID(), key: execution.key });
    response.status(201).send({ id: randomUUID() });
    await call();
  }

  @Post('envelope')
  @Idempotent()
  @UseFilters(Envelope)
  envelope() {
    return call();
  }

  @Post('envelope-tx')
  @Idempotent({ transactional: true })
  @UseFilters(Envelope)
  envelopeTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('forgiving-inside')
  @UseInterceptors(forgiving)
  @Idempotent()
  forgivingInside() {
    return call();
  }

  @Post('forgiving-outside')
  @Idempotent()
  @UseInterceptors(forgiving)
  forgivingOutside() {
    return call();
  }

  @Post('mapping-outside')
  @Idempotent()
  @UseInterceptors(mapping)
  mappingOutside() {
    return call();
  }

  @Post('brief')
  @Idempotent({
    outcome: ({ status }) =>
      status === 409 ? { store: true, retention: '1s' } : status < 500 ? 'store' : { store: false },
  })
  brief() {
    return call();
  }

  @Post('success')
  @Idempotent({ outcome: 'success' })
  success() {
    return call();
  }
}

async function answer(response: PlatformResponse) {
  try {
    const made = await call();
    response.status(201).send(made);
  } catch (error) {
    response.status(error instanceof ConflictException ? 409 : 502).send({ failed: true });
  }
}
