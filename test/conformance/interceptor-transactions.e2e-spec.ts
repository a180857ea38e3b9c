import { randomUUID } from 'node:crypto';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  Req,
  UseInterceptors,
} from '@nestjs/common';
import { catchError, concatMap, finalize, map, type Observable, tap } from 'rxjs';
import { DataSource } from 'typeorm';
import { Idempotent } from '../../lib/index.js';
import { call } from '../support/http-client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { TransactionInterceptor, type TransactionRequest } from './support/transaction.interceptor.js';

/** A transaction for each request, as many applications with TypeORM have it. */
@Injectable()
class QueryRunnerInterceptor implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<TransactionRequest>();
    const runner = this.dataSource.createQueryRunner();
    await runner.connect();
    await runner.startTransaction();
    request.manager = runner.manager;
    return next.handle().pipe(
      concatMap(async (value: unknown) => {
        await runner.commitTransaction();
        return value;
      }),
      catchError(async (error: unknown) => {
        await runner.rollbackTransaction();
        throw error;
      }),
      finalize(() => void runner.release()),
    );
  }
}

/** The same, as it is often written: nothing waits for its COMMIT. */
@Injectable()
class TappingInterceptor implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const request = context.switchToHttp().getRequest<TransactionRequest>();
    const runner = this.dataSource.createQueryRunner();
    await runner.startTransaction();
    request.manager = runner.manager;
    const commit = async () => {
      await runner.commitTransaction();
      await runner.release();
    };
    return next.handle().pipe(tap(() => void commit()));
  }
}

/** Fails after the COMMIT: the order is there. */
const failing: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      map(() => {
        throw new Error('the response cannot be made');
      }),
    ),
};

async function place({ manager, headers }: TransactionRequest) {
  const key = headers['idempotency-key'];
  await manager!.query('INSERT INTO interceptor_order VALUES ($1, $2)', [key, headers.seat]);
  return { placed: key };
}

@Controller('orders')
class OrdersController {
  @Post('runner-outside')
  @Idempotent()
  @UseInterceptors(QueryRunnerInterceptor)
  runnerOutside(@Req() request: TransactionRequest) {
    return place(request);
  }

  @Post('runner-inside')
  @UseInterceptors(QueryRunnerInterceptor)
  @Idempotent()
  runnerInside(@Req() request: TransactionRequest) {
    return place(request);
  }

  @Post('transaction-outside')
  @Idempotent()
  @UseInterceptors(TransactionInterceptor)
  transactionOutside(@Req() request: TransactionRequest) {
    return place(request);
  }

  @Post('transaction-inside')
  @UseInterceptors(TransactionInterceptor)
  @Idempotent()
  transactionInside(@Req() request: TransactionRequest) {
    return place(request);
  }

  @Post('tapped')
  @UseInterceptors(TappingInterceptor)
  @Idempotent()
  tapped(@Req() request: TransactionRequest) {
    return place(request);
  }

  @Post('failing-after-commit')
  @Idempotent()
  @UseInterceptors(failing, TransactionInterceptor)
  failingAfterCommit(@Req() request: TransactionRequest) {
    return place(request);
  }
}

@Controller('orders/of-class')
@UseInterceptors(TransactionInterceptor)
class CoveredController {
  @Post('transaction')
  @Idempotent()
  place(@Req() request: TransactionRequest) {
    return place(request);
  }
}

/** A data source that is opened at the first request of a tenant, after the boot. */
class Tenant {
  static dataSource: DataSource | undefined;
}

@Injectable()
class TenantInterceptor implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    Tenant.dataSource ??= await new DataSource({ ...this.dataSource.options, entities: [] }).initialize();
    return new TransactionInterceptor(Tenant.dataSource).intercept(context, next);
  }
}

@Controller('orders')
class TenantOrdersController {
  @Post('tenant')
  @Idempotent()
  @UseInterceptors(TenantInterceptor)
  place(@Req() request: TransactionRequest) {
    return place(request);
  }
}

// TypeORM makes a new list of subscribers for each initialize(), and the library was no longer among them.
const INITIALIZED = {
  'before the boot': () => undefined,
  again: async (dataSource: DataSource) => {
    await dataSource.destroy();
    await dataSource.initialize();
  },
  'after the boot': (dataSource: DataSource) => dataSource.initialize(),
};

describe.each(
  PLATFORMS.flatMap((platform) => Object.entries(INITIALIZED).map(([when, how]) => [platform, when, how] as const)),
)('interceptors that begin a transaction for each request, on %s, initialized %s', (platform, when, initialize) => {
  let app: RunningApp;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    const options = { ...database.options, manualInitialization: when === 'after the boot' };
    app = await startApp(platform, {
      database: { ...database, options },
      controllers: [OrdersController, CoveredController, TenantOrdersController],
    });
    await initialize(app.dataSource);
    await app.dataSource.query(
      'CREATE TABLE interceptor_order (key text, seat text UNIQUE DEFERRABLE INITIALLY DEFERRED)',
    );
  });
  afterAll(async () => {
    await Tenant.dataSource?.destroy();
    Tenant.dataSource = undefined;
    await app?.close();
    await database?.drop();
  });

  const post = (path: string, key: string, seat: string) =>
    call(`http://127.0.0.1:${app.port}/orders/${path}`, { key, headers: { seat } });
  const orders = async (key: string) =>
    (await app.dataSource.query('SELECT seat FROM interceptor_order WHERE key = $1', [key])).length as number;

  test.each([
    'runner-outside',
    'runner-inside',
    'transaction-outside',
    'transaction-inside',
    'of-class/transaction',
    'tenant',
  ])('%s: a COMMIT that the database refuses frees the key', async (path) => {
    const [key, seat] = [randomUUID(), randomUUID()];
    await app.dataSource.query('INSERT INTO interceptor_order VALUES ($1, $2)', ['another', seat]);
    expect((await post(path, key, seat)).status).toBe(500);
    expect((await post(path, key, seat)).status).toBe(500);
    expect(await orders(key)).toBe(0);
    await app.dataSource.query('DELETE FROM interceptor_order WHERE seat = $1', [seat]);
    const second = await post(path, key, seat);
    expect(second).toMatchObject({ status: 201, body: `{"placed":"${key}"}` });
    expect((await post(path, key, seat)).headers['idempotent-replayed']).toBe('true');
    expect(await orders(key)).toBe(1);
  });

  test('a COMMIT that the response does not wait for: the log says what can be lost, and of no other', async () => {
    for (const path of ['transaction-inside', 'runner-outside', 'tapped', 'tapped']) {
      expect((await post(path, randomUUID(), randomUUID())).status).toBe(201);
    }
    expect(app.log.lines.filter((line) => line.includes('before COMMIT'))).toEqual([
      expect.stringContaining('POST /orders/tapped: the response is made before COMMIT'),
    ]);
  });

  test('a failure after the COMMIT does not', async () => {
    const [key, seat] = [randomUUID(), randomUUID()];
    expect((await post('failing-after-commit', key, seat)).status).toBe(500);
    expect((await post('failing-after-commit', key, seat)).body).toContain('replay-unavailable');
    expect(await orders(key)).toBe(1);
  });
});
