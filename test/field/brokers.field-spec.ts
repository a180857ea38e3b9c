import { type Server, startRabbitmq } from '../support/servers.mjs';
import { FieldProcess } from './field-process.js';

/** Applications that need a broker. */
const field = await FieldProcess.start('brokers');
let broker: Server;
beforeAll(async () => {
  broker = await startRabbitmq();
}, 90_000);
afterAll(async () => {
  await field.stop();
  await broker?.dispose();
});

describe.each(field.applications)('$name', ({ name, adapters }) => {
  test.each(adapters)('on %s: bare, first and replayed', async (adapter) => {
    expect(await field.run(name, adapter, { RABBITMQ_URI: `amqp://guest:guest@127.0.0.1:${broker.port}` })).toEqual([]);
  });
});
