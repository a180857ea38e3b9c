import { randomUUID } from 'node:crypto';
import { type ClientProxy, ClientProxyFactory, RmqRecordBuilder, Transport } from '@nestjs/microservices';
import { connect } from 'amqplib';
import { lastValueFrom, timeout } from 'rxjs';
import { AppProcess } from '../../support/app-process.js';
import { began } from '../../support/cluster.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { type Server, startRabbitmq } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

const LEASE = 1_000;
const QUEUE = 'tasks';
const DEAD = 'dead tasks';

/** A queue with `noAck: false`, whose consumers acknowledge in an interceptor, as docs/beyond-http.md shows. */
describe('a RabbitMQ queue', () => {
  let broker: Server;
  let database: TestDatabase;
  let client: ClientProxy;
  const apps: AppProcess[] = [];
  let closeAmqp: (() => Promise<void>) | undefined;

  const queue = {
    urls: [] as string[],
    queue: QUEUE,
    queueOptions: {
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-delivery-limit': 2,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': DEAD,
      },
    },
  };
  /** The ids of the dead letters. */
  const dead: string[] = [];

  async function consume() {
    const app = await AppProcess.start('messages-app', {
      DATABASE: JSON.stringify(database.options),
      OPTIONS: JSON.stringify({ lease: LEASE, audit: 'off' }),
      SYNCHRONIZE: apps.length ? 'off' : 'on',
      TRANSPORT: JSON.stringify({ transport: Transport.RMQ, options: { ...queue, noAck: false, prefetchCount: 2 } }),
    });
    apps.push(app);
    return app;
  }

  beforeAll(async () => {
    [broker, database] = await Promise.all([startRabbitmq(), createDatabase('postgres')]);
    queue.urls.push(`amqp://guest:guest@127.0.0.1:${broker.port}`);
    const amqp = await connect(queue.urls[0]);
    const channel = await amqp.createChannel();
    await channel.assertQueue(DEAD);
    await channel.consume(DEAD, (message) => void dead.push(String(message!.properties.messageId)), { noAck: true });
    closeAmqp = () => amqp.close();
    client = ClientProxyFactory.create({ transport: Transport.RMQ, options: queue });
    await consume();
  }, 90_000);

  afterAll(async () => {
    await client?.close();
    await closeAmqp?.();
    await Promise.all(apps.map((app) => app.stop()));
    await broker?.dispose();
    await database?.drop();
  });

  const messageId = () => randomUUID();
  const record = (task: object, id?: string) =>
    new RmqRecordBuilder(task).setOptions(id === undefined ? {} : { messageId: id }).build();
  const emit = (task: object, id?: string) => lastValueFrom(client.emit('order.placed', record(task, id)));
  const ask = (task: object, id?: string) =>
    lastValueFrom(client.send<unknown>('charge', record(task, id)).pipe(timeout(20_000)));
  const effects = async (name: string) => {
    const app = apps.find(({ running }) => running)!;
    return JSON.parse((await call(`${app.url}/effects?name=${name}`, { method: 'GET' })).body) as { attempt: number }[];
  };

  /** What every consumer has reported. */
  const timesReported = (name: string) =>
    apps.flatMap(({ messages }) => messages).filter((one) => (one as { done?: string }).done === name).length;

  test('the AMQP message id is the key: an RPC that is sent again gets the same answer', async () => {
    const id = messageId();
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask({ name: 'charged', before: 50 }, id)));
    expect(answers).toEqual(Array.from({ length: 5 }, () => ({ name: 'charged', attempt: 1 })));
    expect(await effects('charged')).toHaveLength(1);
    await expect(ask({ name: 'charged' })).rejects.toMatchObject({ code: 'key-missing', status: 400 });
  });

  test('an event that is published twice is handled once, and acknowledged twice', async () => {
    const id = messageId();
    await Promise.all([emit({ name: 'placed', before: 50 }, id), emit({ name: 'placed', before: 50 }, id)]);
    await until(() => timesReported('placed') === 1);
    await emit({ name: 'placed', before: 50 }, id);
    await emit({ name: 'after' }, messageId());
    await until(() => timesReported('after') === 1);
    expect(await effects('placed')).toHaveLength(1);
  });

  test('an event that failed for now is delivered again, and runs again', async () => {
    await emit({ name: 'failed once', fail: 'once' }, messageId());
    await until(() => timesReported('failed once') === 2);
    await until(async () => (await effects('failed once')).length > 0);
    expect(await effects('failed once')).toMatchObject([{ attempt: 2 }]);
  });

  test.each(['final', 'unknown'])(
    'an event that was refused for good is not, and is a dead letter: %s',
    async (fail) => {
      const [name, id] = [`refused ${fail}`, messageId()];
      await emit({ name, fail }, id);
      await until(() => dead.includes(id));
      expect(timesReported(name)).toBe(1);
      expect(await effects(name)).toEqual([]);
    },
  );

  test('an event that fails each time is a dead letter in the end', async () => {
    const id = messageId();
    await emit({ name: 'poison', fail: 'always' }, id);
    await until(() => dead.includes(id));
    expect(timesReported('poison')).toBe(3);
    expect(await effects('poison')).toEqual([]);
  });

  test('the consumer dies: the broker delivers again, and another takes over', async () => {
    const [victim] = apps;
    await emit({ name: 'orphan', after: 60_000 }, messageId());
    await began(victim, 'orphan');
    await until(() => timesReported('orphan') === 1);
    const heir = await consume();
    await victim.stop('SIGKILL');
    await began(heir, 'orphan');
    // What the dead one had written was rolled back with its transaction.
    expect(await effects('orphan')).toEqual([]);
  });

  test('every message is acknowledged', async () => {
    // The broker gives a consumer two at a time, and one of them is the orphan that it is still working on.
    const names = ['one', 'two', 'three'];
    for (const name of names) await emit({ name }, messageId());
    await until(() => names.every((name) => timesReported(name) === 1));
  });
});
