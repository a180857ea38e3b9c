import { randomUUID } from 'node:crypto';
import { type ClientProxy, ClientProxyFactory, MqttRecordBuilder, Transport } from '@nestjs/microservices';
import mqtt from 'mqtt';
import { lastValueFrom, timeout } from 'rxjs';
import { AppProcess, type Environment } from '../../support/app-process.js';
import { began, eventsOf } from '../../support/cluster.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { type Server, startMosquitto } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

const LEASE = 1_000;

/** MQTT 5, QoS 1, and consumers with sessions that outlive them, as docs/beyond-http.md describes them. */
describe('an MQTT broker', () => {
  let broker: Server;
  let database: TestDatabase;
  let client: ClientProxy;
  const apps: AppProcess[] = [];
  const clientIds: string[] = [];
  let tablesExist = false;

  /** @param clientId whose session is resumed, if there is one */
  const session = (clientId: string) =>
    ({ protocolVersion: 5, clientId, clean: false, properties: { sessionExpiryInterval: 600 } }) as const;

  async function consume(clientId: string, env: Environment = {}, { qos = 1, keepalive = 60 } = {}) {
    clientIds.push(clientId);
    const app = await AppProcess.start('messages-app', {
      DATABASE: JSON.stringify(database.options),
      OPTIONS: JSON.stringify({ lease: LEASE, audit: 'off' }),
      SYNCHRONIZE: tablesExist ? 'off' : 'on',
      TRANSPORT: JSON.stringify({
        transport: Transport.MQTT,
        options: { url: url(), ...session(clientId), keepalive, subscribeOptions: { qos } },
      }),
      ...env,
    });
    tablesExist = true;
    apps.push(app);
    return app;
  }

  /**
   * Ends the consumers and their sessions: the broker keeps a message of a shared subscription for a member that is away,
   * where it might have given it to another.
   */
  async function retire() {
    await Promise.all(apps.splice(0).map((app) => app.stop()));
    for (const clientId of clientIds.splice(0)) {
      const last = await mqtt.connectAsync(url(), { protocolVersion: 5, clientId, clean: true });
      await last.endAsync();
    }
  }

  const url = () => `mqtt://127.0.0.1:${broker.port}`;

  beforeAll(async () => {
    [broker, database] = await Promise.all([startMosquitto(), createDatabase('postgres')]);
    client = ClientProxyFactory.create({ transport: Transport.MQTT, options: { url: url(), protocolVersion: 5 } });
  });

  afterAll(async () => {
    await client?.close();
    await retire();
    await broker?.dispose();
    await database?.drop();
  });

  const record = (task: object, key?: string, qos: 1 | 2 = 1) =>
    new MqttRecordBuilder(task)
      .setQoS(qos)
      .setProperties(key === undefined ? {} : { userProperties: { 'Idempotency-Key': key } })
      .build();
  /** Settles once the broker has the message. */
  const emit = (task: object, key?: string, { topic = 'order.placed', qos = 1 as 1 | 2 } = {}) =>
    lastValueFrom(client.emit(topic, record(task, key, qos)), { defaultValue: undefined });
  const ask = (pattern: string, task: object, key?: string) =>
    lastValueFrom(client.send<unknown>(pattern, record(task, key)).pipe(timeout(20_000)));
  const effects = async (name: string) => {
    const app = apps.find(({ running }) => running)!;
    return JSON.parse((await call(`${app.url}/effects?name=${name}`, { method: 'GET' })).body) as { attempt: number }[];
  };
  /** How often the consumers have reported that they were done, except for the record. */
  const done = (name: string, of = apps) =>
    of.flatMap(({ messages }) => messages).filter((one) => (one as { done?: string }).done === name).length;
  const events = (app: AppProcess, type: string) => eventsOf(app, type).length;

  /** The names of the tasks that the broker still has for a client that is gone. */
  async function leftFor(clientId: string) {
    const left: string[] = [];
    const heir = mqtt.connect(url(), session(clientId));
    heir.on('message', (_topic, payload) => {
      left.push((JSON.parse(payload.toString()) as { data: { name: string } }).data.name);
    });
    await emit({ name: 'the last' }, randomUUID());
    await until(() => left.includes('the last'));
    await heir.endAsync();
    return left.filter((name) => name !== 'the last');
  }

  describe('a consumer on its own', () => {
    let consumer: AppProcess;

    beforeAll(async () => {
      consumer = await consume('consumer');
    });

    afterAll(retire);

    test('an RPC that is sent again under the same user property gets the same answer', async () => {
      const key = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => ask('charge', { name: 'charged', before: 50 }, key)),
      );
      expect(answers).toEqual(Array.from({ length: 5 }, () => ({ name: 'charged', attempt: 1 })));
      expect(await effects('charged')).toHaveLength(1);
      await expect(ask('charge', { name: 'other' }, key)).rejects.toMatchObject({ code: 'key-reused', status: 422 });
      await expect(ask('charge', { name: 'charged' })).rejects.toMatchObject({ code: 'key-missing', status: 400 });
    });

    test('an event that is published twice is handled once', async () => {
      const key = randomUUID();
      await Promise.all([emit({ name: 'placed', before: 50 }, key), emit({ name: 'placed', before: 50 }, key)]);
      await until(() => events(consumer, 'replayed') > 0 && done('placed') > 0);
      const before = events(consumer, 'replayed');
      await emit({ name: 'placed', before: 50 }, key);
      await until(() => events(consumer, 'replayed') > before);
      expect([done('placed'), (await effects('placed')).length]).toEqual([1, 1]);
    });

    test('one that failed for now runs again when it is published again, and not before', async () => {
      const key = randomUUID();
      await emit({ name: 'failed once', fail: 'once' }, key);
      await until(() => events(consumer, 'released') === 1);
      expect(await effects('failed once')).toEqual([]);
      await emit({ name: 'failed once', fail: 'once' }, key);
      await until(async () => (await effects('failed once')).length > 0);
      expect(await effects('failed once')).toMatchObject([{ attempt: 2 }]);
    });

    test('one that was refused for good does not run again', async () => {
      const key = randomUUID();
      await emit({ name: 'refused', fail: 'final' }, key);
      await until(() => done('refused') === 1);
      const before = events(consumer, 'replayed');
      await emit({ name: 'refused', fail: 'final' }, key);
      await until(() => events(consumer, 'replayed') > before);
      expect([done('refused'), await effects('refused')]).toEqual([1, []]);
    });
  });

  describe('consumers that come and go', () => {
    afterEach(retire);

    test('what is published while the consumer is away is kept for its session, and handled once', async () => {
      const absent = await consume('absent');
      await absent.stop();
      const key = randomUUID();
      await emit({ name: 'kept' }, key);
      await emit({ name: 'kept' }, key);
      const back = await consume('absent');
      await until(() => events(back, 'replayed') === 1);
      expect([done('kept'), (await effects('kept')).length]).toEqual([1, 1]);
    });

    test('the consumer dies: Nest has acknowledged, and it takes the publisher to publish again', async () => {
      const task = { name: 'orphan', before: 300 };
      const key = randomUUID();
      const victim = await consume('victim');
      await emit(task, key);
      await began(victim, 'orphan');
      await victim.stop('SIGKILL');
      expect(await leftFor('victim')).toEqual([]);

      await consume('victim');
      await emit(task, key);
      await until(async () => (await effects('orphan')).length > 0);
      expect(await effects('orphan')).toMatchObject([{ attempt: 2 }]);
    });

    describe('a consumer that acknowledges what its handlers have ended', () => {
      const patient = { MQTT_ACKNOWLEDGE: 'when handled' };

      test('it dies: the broker delivers again to its session, which takes over', async () => {
        const victim = await consume('patient', patient);
        // The second waits for the first, with the broker.
        await emit({ name: 'delivered again', before: 1_500 }, randomUUID());
        await emit({ name: 'behind it' }, randomUUID());
        await began(victim, 'delivered again');
        await victim.stop('SIGKILL');
        await consume('patient', patient);
        await until(() => done('behind it') === 1);
        expect(await effects('delivered again')).toMatchObject([{ attempt: 2 }]);
        await until(async () => (await effects('behind it')).length === 1);
        expect(await effects('behind it')).toMatchObject([{ attempt: 1 }]);
      });

      test('what has ended, well or not, is acknowledged, and so is what no handler takes', async () => {
        // A session keeps the subscriptions of patterns that a new version no longer has.
        const former = await mqtt.connectAsync(url(), session('thorough'));
        await former.subscribeAsync('order.former', { qos: 1 });
        await former.endAsync();
        const consumer = await consume('thorough', patient);
        await emit({ name: 'well' }, randomUUID());
        await emit({ name: 'not now', fail: 'once' }, randomUUID());
        await emit({ name: 'never', fail: 'final' }, randomUUID());
        await emit({ name: 'keyless' });
        await emit({ name: 'unheard' }, randomUUID(), { topic: 'order.former' });
        await emit({ name: 'after all' }, randomUUID(), { topic: 'orders/7/shipped' });
        await emit({ name: 'unfinished', after: 60_000 }, randomUUID());
        await began(consumer, 'unfinished');
        expect(['well', 'not now', 'never', 'keyless', 'unheard', 'after all'].map((name) => done(name))).toEqual([
          1, 1, 1, 0, 0, 1,
        ]);
        await consumer.stop();
        expect(await leftFor('thorough')).toEqual(['unfinished']);
      });

      test('a handler that outlasts the keepalive: what is delivered again meanwhile waits for it', async () => {
        const consumer = await consume('slow', patient, { keepalive: 1 });
        await emit({ name: 'long', before: 4_000 }, randomUUID());
        await emit({ name: 'behind long' }, randomUUID());
        await until(() => done('behind long') === 1);
        expect(events(consumer, 'replayed')).toBeGreaterThan(0);
        expect([done('long'), (await effects('long')).length]).toEqual([1, 1]);
      });

      test('QoS 2 loses what a dead consumer was working on', async () => {
        const victim = await consume('exact', patient, { qos: 2 });
        await emit({ name: 'exactly once', before: 60_000 }, randomUUID(), { qos: 2 });
        await began(victim, 'exactly once');
        await victim.stop();
        expect(await leftFor('exact')).toEqual([]);
      });
    });

    test('two consumers: each is given every message, one carries it out; a shared subscription gives it to one', async () => {
      const pair = await Promise.all([consume('left'), consume('right')]);
      const replayed = () => events(pair[0], 'replayed') + events(pair[1], 'replayed');
      await emit({ name: 'for both', before: 50 }, randomUUID());
      await until(() => replayed() === 1);
      const answer = { name: 'asked both', attempt: 1 };
      expect(await ask('charge', { name: 'asked both', before: 50 }, randomUUID())).toEqual(answer);
      await until(() => replayed() === 2);

      const key = randomUUID();
      const topic = 'orders/7/shipped';
      await emit({ name: 'for one' }, key, { topic });
      await until(() => done('for one') === 1);
      await emit({ name: 'for one' }, key, { topic });
      await until(() => replayed() === 3);
      const claimed = pair.flatMap((app) => eventsOf(app, 'claimed'));
      expect(claimed.map(({ endpoint }) => endpoint)).toEqual(
        expect.arrayContaining([
          'EVENT order.placed TasksController.placed',
          'RPC charge',
          'EVENT orders/+/shipped TasksController.shipped',
        ]),
      );
      expect(claimed).toHaveLength(3);
      for (const name of ['for both', 'asked both', 'for one']) expect(await effects(name)).toHaveLength(1);
    });
  });
});
