import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { Res, Controller, type NestInterceptor, Post, StreamableFile, UseInterceptors } from '@nestjs/common';
import { forkJoin, lastValueFrom, map, mergeMap, of, retry, timeout } from 'rxjs';
import { randomUUID } from 'node:crypto';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { type PlatformResponse, Row, stage as calls } from './retries-and-timeouts.controller.js';

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
/** Asks twice at once. */
const twice: NestInterceptor = {
  intercept: (_context, next) => forkJoin([next.handle(), next.handle()]).pipe(map(([, second]) => second)),
};
const timingOut: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(timeout(60)) };
const impatient: NestInterceptor = { intercept: (_context, next) => next.handle().pipe(timeout(60), retry(1)) };
/** As ts-rest has it: the handler returns what is to be done. */
const doing: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      mergeMap((work: () => Promise<unknown>) => work()),
      retry(2),
    ),
};

/** Emit the promise of their work, for which Nest waits. */
const promising: NestInterceptor = { intercept: (_context, next) => of(lastValueFrom(next.handle())) };
const promisingLater: NestInterceptor = {
  intercept: (_context, next) => of(Promise.resolve().then(() => lastValueFrom(next.handle()))),
};

const charge = (execution: Execution) => execution.step('charge', () => ({ charge: ++stage.charges }));

/** As decorators of transactions, traces and measurements are written: they wrap the method, and copy what is known of it. */
function Wrapped(around: (work: () => Promise<unknown>) => Promise<unknown> = (work) => work()): MethodDecorator {
  return ((_target: object, _name: string, descriptor: PropertyDescriptor) => {
    const method = descriptor.value as (...args: unknown[]) => Promise<unknown>;
    const wrapped = function (this: unknown, ...args: unknown[]) {
      return around(() => method.apply(this, args));
    };
    for (const key of Reflect.getMetadataKeys(method)) {
      Reflect.defineMetadata(key, Reflect.getMetadata(key, method), wrapped);
    }
    descriptor.value = wrapped;
  }) as MethodDecorator;
}

/** Keeps what is known of the method by inheriting from it. */
const Inheriting: MethodDecorator = (_target, _name, descriptor: PropertyDescriptor) => {
  const method = descriptor.value as (...args: unknown[]) => unknown;
  descriptor.value = Object.setPrototypeOf(function (this: unknown, ...args: unknown[]) {
    return method.apply(this, args);
  }, method) as unknown;
};

/** Below the decorators that describe the method. */
const Proxied: MethodDecorator = (_target, _name, descriptor: PropertyDescriptor) => {
  const method = descriptor.value as (...args: unknown[]) => unknown;
  const proxy = new Proxy(method, {});
  for (const key of Reflect.getMetadataKeys(method)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, method), proxy);
  }
  descriptor.value = proxy;
};

/** Waits after the method, as a slow COMMIT does, and fails as that may. */
const committing = async (work: () => Promise<unknown>) => {
  const value = await work();
  await call();
  return value;
};

/** As packages generate the routes of a resource: what decorators make of the descriptor is lost. */
function Generated(path: string, ...decorators: MethodDecorator[]): ClassDecorator {
  return ({ prototype }) => {
    const method = () => call();
    Object.defineProperty(prototype, path, { value: method, configurable: true, writable: true });
    for (const decorate of [...decorators, Post(path)]) decorate(method, path, { value: method } as never);
  };
}

@Generated('generated', Idempotent(), UseInterceptors(timingOut))
@Controller('wrapped')
export class HandlerWrappersController {
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

  @Post('wrapped-above')
  @UseInterceptors(timingOut)
  @Wrapped()
  @Idempotent()
  wrappedAbove() {
    return call();
  }

  @UseInterceptors(timingOut)
  @Inheriting
  @Post('inherited-above')
  @Idempotent()
  inheritedAbove() {
    return call();
  }

  @UseInterceptors(timingOut)
  @Proxied
  @Post('proxied-above')
  @Idempotent()
  proxiedAbove() {
    return call();
  }

  @Post('wrapped-below')
  @UseInterceptors(timingOut)
  @Idempotent()
  @Wrapped()
  wrappedBelow() {
    return call();
  }

  @Post('committing')
  @UseInterceptors(timingOut)
  @Wrapped(committing)
  @Idempotent()
  async committing() {
    return Promise.resolve('done');
  }

  @Post('wrapped-failing')
  @UseInterceptors(failing)
  @Wrapped()
  @Idempotent()
  wrappedFailing() {
    return call();
  }

  @Post('wrapped-tx')
  @UseInterceptors(impatient)
  @Wrapped()
  @Idempotent({ transactional: true })
  wrappedTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('promised')
  @UseInterceptors(promising)
  @Idempotent()
  promised() {
    return call();
  }

  @Post('promised-later')
  @UseInterceptors(promisingLater)
  @Idempotent()
  promisedLater() {
    return call();
  }

  @Post('promised-tx')
  @UseInterceptors(promising)
  @Idempotent({ transactional: true })
  promisedTransactional(@IdempotentExecution() execution: Execution) {
    return write(execution);
  }

  @Post('twice')
  @Idempotent()
  @UseInterceptors(twice)
  twice() {
    return call();
  }

  @Post('twice-waiting')
  @Idempotent({ onConflict: 'wait' })
  @UseInterceptors(twice)
  twiceWaiting() {
    return call();
  }

  @Post('pipeline')
  @Idempotent()
  async pipeline(@Res() response: PlatformResponse) {
    await sendReceipt(response);
  }

  @Post('pipeline-tx')
  @Idempotent({ transactional: true })
  async pipelineTransactional(@IdempotentExecution() execution: Execution, @Res() response: PlatformResponse) {
    await execution.manager.insert(Row, { id: randomUUID(), key: execution.key });
    await sendReceipt(response);
  }

  @Post('finished-tx')
  @Idempotent({ transactional: true })
  async finishedTransactional(@IdempotentExecution() execution: Execution, @Res() response: PlatformResponse) {
    response.status(201).send(await write(execution));
    await once(response.raw ?? (response as ServerResponse), 'finish');
  }

  @Post('ended-tx')
  @Idempotent({ transactional: true })
  async endedTransactional(@IdempotentExecution() execution: Execution, @Res() response: PlatformResponse) {
    const raw = (response.raw ?? response) as ServerResponse;
    const made = await write(execution);
    raw.statusCode = 201;
    await new Promise<void>((resolve) => raw.end(JSON.stringify(made), resolve));
  }

  @Post('pipeline-failing')
  @Idempotent()
  async pipelineFailing(@Res() response: PlatformResponse) {
    const raw = (response.raw ?? response) as ServerResponse;
    raw.statusCode = await call().then(
      () => 201,
      () => 502,
    );
    await pipeline(Readable.from(['of the upstream']), raw);
  }
}

async function sendReceipt(response: PlatformResponse) {
  const made = await call();
  const raw = (response.raw ?? response) as ServerResponse;
  raw.writeHead(201, { 'Content-Type': 'application/json' });
  await pipeline(Readable.from([JSON.stringify(made)]), raw);
}
