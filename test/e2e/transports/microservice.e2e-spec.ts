import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  type INestMicroservice,
  Injectable,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import {
  type ClientOptions,
  type ClientProxy,
  ClientProxyFactory,
  MessagePattern,
  Payload,
  RpcException,
  type TcpOptions,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { DataSource } from 'typeorm';
import { catchError, defer, delayWhen, lastValueFrom, type Observable, of, retry, throwError, timeout } from 'rxjs';
import { IdempotencyInterceptor, Idempotent, IdempotentExecution, type Execution } from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';

@Injectable()
class TriesAgain implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(retry(2));
  }
}

/** In the context of the call that has failed, where its stream has. */
@Injectable()
class CallsAgain implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(catchError(() => next.handle()));
  }
}

@Injectable()
class GivesUp implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(timeout({ first: 50, with: () => throwError(() => new Error('too slow')) }));
  }
}

/** Gives up on the first subscription while its handler runs, and subscribes again. */
@Injectable()
class TriesAgainMeanwhile implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(timeout(50), retry(1), timeout(5_000));
  }
}

let selfCalled!: (value: unknown) => void;
const selfCall = new Promise<unknown>((resolve) => (selfCalled = resolve));

/** Lets the answer pass when a call has ended that the handler has left running. */
@Injectable()
class WaitsForSelfCall implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(delayWhen(() => selfCall));
  }
}

let finish!: () => void;
const finished = new Promise<void>((resolve) => (finish = resolve));
let runs = 0;
let finishSlow!: () => void;
const slowFinished = new Promise<void>((resolve) => (finishSlow = resolve));
let slowRuns = 0;
let streamRuns = 0;

let pollAgain!: () => void;
const answered = new Promise<void>((resolve) => (pollAgain = resolve));
let polls = 0;
let secondPoll: Promise<number> | undefined;

const key = (context: ExecutionContext) => context.switchToRpc().getData<string>();

@Controller()
class JobsController {
  @MessagePattern('tried again')
  @Idempotent({ key })
  @UseInterceptors(TriesAgain)
  triedAgain(@IdempotentExecution() execution: Execution) {
    if (execution.attempt < 3) throw new Error('not now');
    return { attempt: execution.attempt };
  }

  @MessagePattern('listening')
  @UseInterceptors(GivesUp)
  @Idempotent({ key })
  async listening(@Payload() name: string) {
    runs++;
    await lastValueFrom(this.names(name));
    await finished;
    return name;
  }

  @MessagePattern('still running')
  @Idempotent({ key })
  @UseInterceptors(TriesAgainMeanwhile)
  async stillRunning() {
    slowRuns++;
    await slowFinished;
    return slowRuns;
  }

  @MessagePattern('wired twice')
  @Idempotent({ key })
  @UseInterceptors(IdempotencyInterceptor)
  wiredTwice(name: string): string {
    return name;
  }

  @MessagePattern('polled')
  @Idempotent({ key })
  polled(name: string): number {
    if (++polls === 1) secondPoll = answered.then(() => this.polled(name));
    return polls;
  }

  @MessagePattern('left running')
  @UseInterceptors(WaitsForSelfCall)
  @Idempotent({ key, transactional: true })
  async leftRunning(@Payload() name: string, @IdempotentExecution() execution?: Execution): Promise<string> {
    if (!execution) return name;
    await execution.manager.query('INSERT INTO made VALUES (?)', [name]);
    setImmediate(() => selfCalled(this.leftRunning(name)));
    return name;
  }

  @MessagePattern('stream tried again')
  @UseInterceptors(CallsAgain)
  @Idempotent({ key, transactional: true })
  streamTriedAgain(@IdempotentExecution() execution: Execution): Observable<string> {
    const name = `stream ${++streamRuns}`;
    return defer(async () => {
      await execution.manager.query('INSERT INTO made VALUES (?)', [name]);
      if (streamRuns < 2) throw new Error('not now');
      return name;
    });
  }

  @MessagePattern('names')
  @Idempotent({ key })
  names(name: string): Observable<string> {
    return of(name, name);
  }

  @MessagePattern('refused')
  @Idempotent()
  refused() {
    throw new RpcException('never');
  }
}

describe('an application of messages alone', () => {
  let database: TestDatabase;
  let app: INestMicroservice;
  let client: ClientProxy;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    const options: TcpOptions = { transport: Transport.TCP, options: { host: '127.0.0.1', port: await freePort() } };
    const module = await Test.createTestingModule({ imports: [appModule(database, [JobsController])] }).compile();
    app = module.createNestMicroservice({ ...options, logger: false });
    await app.listen();
    await app.get(DataSource).query('CREATE TABLE made (name text)');
    client = ClientProxyFactory.create(options as ClientOptions) as ClientProxy;
  });

  afterAll(async () => {
    await client?.close();
    await app?.close();
    await database?.drop();
  });

  const ask = (pattern: string, data: unknown) => lastValueFrom(client.send<unknown>(pattern, data));

  test('refusals reach the client', async () => {
    await expect(ask('refused', 'k')).rejects.toMatchObject({ code: 'key-missing', status: 400 });
  });

  test('an interceptor outside that tries again claims again', async () => {
    expect(await ask('tried again', 'again')).toEqual({ attempt: 3 });
    expect(await ask('tried again', 'again')).toEqual({ attempt: 3 });
  });

  test('one that tries again while the handler runs is refused, and does not run beside it', async () => {
    const { code } = (await ask('still running', 's').catch((error: unknown) => error)) as { code?: string };
    finishSlow();
    expect([slowRuns, code]).toEqual([1, 'in-progress']);
  });

  test('a handler whose interceptor is wired twice does not meet itself', async () => {
    expect([await ask('wired twice', 'w'), await ask('wired twice', 'w')]).toEqual(['w', 'w']);
  });

  test('what a handler has left running may call its method after its operation has ended', async () => {
    expect(await ask('polled', 'p')).toBe(1);
    pollAgain();
    expect(await secondPoll).toBe(2);
    expect(await ask('polled', 'p')).toBe(1);
  });

  test('nor does such a call undo what the handler has written', async () => {
    expect(await ask('left running', 'm')).toBe('m');
    expect(await app.get(DataSource).query('SELECT name FROM made')).toEqual([{ name: 'm' }]);
  });

  test('an interceptor inside that tries a stream again is another call, without the writes of the first', async () => {
    expect([await ask('stream tried again', 't'), await ask('stream tried again', 't')]).toEqual([
      'stream 2',
      'stream 2',
    ]);
    const made = await app.get(DataSource).query("SELECT name FROM made WHERE name LIKE 'stream%'");
    expect(made).toEqual([{ name: 'stream 2' }]);
  });

  test('a stream that the handler itself listens to does not end its operation', async () => {
    await expect(ask('listening', 'l')).rejects.toMatchObject({ message: 'Internal server error' });
    // The handler still runs, though a stream within it has ended.
    await expect(ask('listening', 'l')).rejects.toMatchObject({ code: 'in-progress' });
    finish();
    for (let code = ''; code !== 'replay-unavailable'; await sleep(20)) {
      ({ code } = (await ask('listening', 'l').catch((error: unknown) => error)) as { code: string });
    }
    expect(runs).toBe(1);
  });
});
