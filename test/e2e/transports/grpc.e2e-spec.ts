import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Controller, type INestApplication, Module } from '@nestjs/common';
import {
  type ClientGrpc,
  ClientProxyFactory,
  GrpcMethod,
  type GrpcOptions,
  GrpcStreamMethod,
  RpcException,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { lastValueFrom, type Observable, of, toArray } from 'rxjs';
import { Idempotent, IdempotencyKey, IdempotencyModule } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';

const PROTO = `
  syntax = "proto3";
  package shop;
  service Payments {
    rpc Pay (Payment) returns (Receipt);
    rpc Follow (Payment) returns (stream Receipt);
  }
  message Payment { string name = 1; int32 amount = 2; }
  message Receipt { string name = 1; int32 run = 2; string key = 3; }
`;

interface Payment {
  readonly name: string;
  readonly amount: number;
}

interface Receipt {
  readonly name: string;
  readonly run: number;
  readonly key: string;
}

interface Payments {
  pay(payment: Payment, metadata: Metadata): Observable<Receipt>;
  follow(payment: Payment, metadata: Metadata): Observable<Receipt>;
}

let runs = 0;
let open!: () => void;
const gate = new Promise<void>((resolve) => (open = resolve));

@Controller()
class PaymentsController {
  @GrpcMethod('Payments', 'Pay')
  @Idempotent()
  async pay({ name }: Payment): Promise<Receipt> {
    if (name === 'raced') await gate;
    if (name === 'declined')
      throw new RpcException({ code: status.FAILED_PRECONDITION, message: `declined ${++runs}` });
    if (name === 'detailed') {
      const metadata = new Metadata();
      metadata.set('grpc-status-details-bin', Buffer.from([8, 9]));
      throw new RpcException({ code: status.FAILED_PRECONDITION, message: `declined ${++runs}`, metadata });
    }
    if (name === 'away') throw new RpcException({ code: status.UNAVAILABLE, message: `away ${++runs}` });
    return { name, run: ++runs, key: '' };
  }

  @GrpcMethod('Payments', 'Follow')
  @Idempotent()
  follow({ name }: Payment): Observable<Receipt> {
    runs++;
    return of({ name, run: runs, key: 'a' }, { name, run: runs, key: 'b' });
  }
}

@Controller()
class StreamingController {
  @GrpcStreamMethod('Payments', 'PayAll')
  @Idempotent()
  payAll(@IdempotencyKey() key: string): string {
    return key;
  }
}

describe('gRPC', () => {
  let database: TestDatabase;
  let folder: string;
  let app: INestApplication;
  let client: ClientGrpc & { close(): void };
  let payments: Payments;

  async function boot(controller: new () => object): Promise<INestApplication> {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot(),
      ],
      controllers: [controller],
    })
    class App {}
    return (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({ logger: false });
  }

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    folder = await mkdtemp(join(tmpdir(), 'idempotency-proto-'));
    const protoPath = join(folder, 'payments.proto');
    await writeFile(protoPath, PROTO);
    const options: GrpcOptions = {
      transport: Transport.GRPC,
      options: { package: 'shop', protoPath, url: `127.0.0.1:${await freePort()}` },
    };
    app = await boot(PaymentsController);
    app.connectMicroservice(options);
    await app.startAllMicroservices();
    await app.init();
    client = ClientProxyFactory.create(options) as unknown as typeof client;
    payments = client.getService<Payments>('Payments');
  });

  afterAll(async () => {
    client?.close();
    await app?.close();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  function keyed(key?: string): Metadata {
    const metadata = new Metadata();
    if (key !== undefined) metadata.set('Idempotency-Key', key);
    return metadata;
  }

  const pay = (name: string, key?: string, amount = 5) => lastValueFrom(payments.pay({ name, amount }, keyed(key)));
  const failed = (answer: Promise<unknown>) =>
    answer.then(
      () => undefined as never,
      (error: ServiceError) => error,
    );
  const problemOf = ({ metadata }: ServiceError) =>
    JSON.parse(String(metadata.get('idempotency-problem')[0])) as Record<string, unknown>;

  test('a call that is made again gets the same answer; the key is in the metadata', async () => {
    const first = await pay('first', '"k1"');
    expect(await pay('first', 'k1')).toEqual(first);
    const streamed = () => lastValueFrom(payments.follow({ name: 's', amount: 1 }, keyed('k2')).pipe(toArray()));
    const values = await streamed();
    expect(values).toHaveLength(2);
    expect(await streamed()).toEqual(values);
  });

  test('refusals have a status code, and the problem in a trailer', async () => {
    const both = [pay('raced', 'raced'), pay('raced', 'raced')];
    const conflict = await failed(Promise.race(both));
    open();
    expect((await Promise.allSettled(both)).map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(conflict).toMatchObject({ code: status.ABORTED, details: expect.stringContaining('being processed') });
    expect(problemOf(conflict)).toMatchObject({ code: 'in-progress', status: 409, retryable: true, retryAfter: 1 });
    const missing = await failed(pay('keyless'));
    expect(missing.code).toBe(status.INVALID_ARGUMENT);
    expect(problemOf(missing)).toMatchObject({ code: 'key-missing' });
    expect((await failed(pay('raced', 'raced', 6))).code).toBe(status.ALREADY_EXISTS);
  });

  test('errors are replayed, by their status code', async () => {
    const declined = await failed(pay('declined', 'declined'));
    expect(declined.code).toBe(status.FAILED_PRECONDITION);
    expect((await failed(pay('declined', 'declined'))).details).toBe(declined.details);
    const away = await failed(pay('away', 'away'));
    expect((await failed(pay('away', 'away'))).details).not.toBe(away.details);
  });

  test('so are their details, in metadata', async () => {
    const details = async () => {
      const { code, details, metadata } = await failed(pay('detailed', 'detailed'));
      return { code, details, bytes: metadata.get('grpc-status-details-bin') };
    };
    const first = await details();
    expect(first).toMatchObject({ code: status.FAILED_PRECONDITION, bytes: [Buffer.from([8, 9])] });
    expect(await details()).toEqual(first);
  });

  test('streams of requests are refused at boot', async () => {
    const streaming = await boot(StreamingController);
    await expect(streaming.init()).rejects.toThrow('@Idempotent() on StreamingController.payAll: a stream of requests');
    await streaming.close();
  });
});
