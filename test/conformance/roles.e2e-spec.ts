import { randomBytes, randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { isReplay } from './support/cases.js';
import { type RunningApp, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

/** Row-level security by a role for each tenant: the role may write bookings, and not the library's tables. */
const id = randomBytes(4).toString('hex');
const [login, owner, tenant] = [`login_${id}`, `owner_${id}`, `tenant_${id}`];

interface Order {
  readonly takeRole: string;
}

async function book(manager: EntityManager, { takeRole }: Order) {
  await manager.query(takeRole);
  await manager.query('INSERT INTO bookings DEFAULT VALUES');
  return { booked: true };
}

@Controller('bookings')
class BookingsController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly idempotency: IdempotencyService,
  ) {}

  @Idempotent({ transactional: true })
  @Post('transactional')
  transactional(@IdempotentExecution() { manager }: Execution, @Body() order: Order) {
    return book(manager, order);
  }

  @Post('service')
  service(@Body() order: Order & { key: string }) {
    return this.idempotency.run({ key: order.key, operation: 'book', transactional: true }, ({ manager }) =>
      book(manager, order),
    );
  }

  /** Leaves the connection in the role, where it is not taken for the transaction alone. */
  @Idempotent()
  @Post('plain')
  plain(@Body() order: Order) {
    return this.dataSource.transaction((manager) => book(manager, order));
  }
}

const SET_UP = [
  `CREATE ROLE ${owner}`,
  `CREATE ROLE ${tenant}`,
  // Connections have the owner's role when they are opened: the one that logs in has no rights.
  `CREATE ROLE ${login} LOGIN NOINHERIT IN ROLE ${owner}, ${tenant}`,
  `ALTER ROLE ${login} SET role = ${owner}`,
  `GRANT USAGE, CREATE ON SCHEMA public TO ${owner}`,
  'CREATE TABLE bookings (written_by text DEFAULT current_user, checked_by text)',
  'ALTER TABLE bookings ENABLE ROW LEVEL SECURITY',
  'CREATE POLICY own ON bookings USING (written_by = current_user)',
  `GRANT SELECT, INSERT, UPDATE ON bookings TO ${owner}, ${tenant}`,
  `CREATE FUNCTION check_booking() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE bookings SET checked_by = current_user WHERE checked_by IS NULL; RETURN NULL; END'`,
  `CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_booking()`,
  `CREATE FUNCTION enter_tenant() RETURNS void LANGUAGE plpgsql AS
    'BEGIN SET LOCAL ROLE ${tenant}; END'`,
];

const TAKEN = ['SET LOCAL ROLE tenant', 'SET ROLE tenant', "SELECT set_config('role', 'tenant', true)"];

describe.each([
  { platform: 'express', user: login, storeConnections: 4, taken: TAKEN },
  {
    platform: 'fastify',
    user: undefined,
    storeConnections: 0,
    taken: [...TAKEN, 'SET SESSION AUTHORIZATION tenant'],
  },
] as const)('handlers take a role, with $storeConnections connections of the store', (given) => {
  const { platform, user, storeConnections, taken } = given;
  let database: TestDatabase<'postgres'>;
  let admin: DataSource;
  let app: RunningApp;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    admin = await new DataSource(database.options).initialize();
    for (const statement of SET_UP) await admin.query(statement);
    app = await startApp(platform, {
      database: { ...database, options: { ...database.options, ...(user && { username: user, password: '' }) } },
      options: { storeConnections },
      controllers: [BookingsController],
    });
  });

  afterAll(async () => {
    await app?.close();
    await admin.query(`DROP OWNED BY ${login}, ${owner}, ${tenant} CASCADE`);
    await admin.query(`DROP ROLE ${login}, ${owner}, ${tenant}`);
    await admin.destroy();
    await database.drop();
  });

  afterEach(() => admin.query('DELETE FROM bookings'));

  const bookings = () => admin.query('SELECT written_by, checked_by FROM bookings');

  // The completion was refused (42501), and every operation of such a handler with it.
  test.each(taken)('%s: the outcome commits with what the tenant wrote', async (taking) => {
    const takeRole = taking.replace('tenant', tenant);
    const key = randomUUID();
    const calls = [
      { path: '/bookings/transactional', key: randomUUID(), body: { takeRole } },
      { path: '/bookings/service', body: { takeRole, key } },
    ];
    for (const one of [...calls, ...calls]) expect(await send(app.port, one)).toMatchObject({ status: 201 });
    expect(isReplay(await send(app.port, calls[0]))).toBe(true);
    // The trigger runs at COMMIT, after the completion.
    expect(await bookings()).toEqual(Array(2).fill({ written_by: tenant, checked_by: tenant }));
    expect(app.log.lines).toEqual([]);
  });

  // With the store's statements on the same pool, the outcome of an effect was refused: a retry had the effect again.
  test('a connection that a handler leaves in a role does not keep outcomes from being recorded', async () => {
    for (let i = 0; i < 6; i++) {
      const request = { path: '/bookings/plain', key: randomUUID(), body: { takeRole: `SET ROLE ${tenant}` } };
      expect(await send(app.port, request)).toMatchObject({ status: 201 });
      expect(isReplay(await send(app.port, request))).toBe(true);
    }
    expect(await bookings()).toHaveLength(6);
    expect(app.log.lines).toEqual([]);
  });

  test('a role that a function takes unseen: nothing is done, and the log says why', async () => {
    const request = { path: '/bookings/transactional', key: randomUUID(), body: { takeRole: 'SELECT enter_tenant()' } };
    expect(await send(app.port, request)).toMatchObject({ status: 500 });
    expect(await bookings()).toEqual([]);
    expect(app.log.lines.splice(0)[0]).toMatch(
      /the transaction was rolled back, and the key is free: permission denied for table idempotency_\w+ \(42501\)\. .*A role that a handler takes \(SET ROLE\) needs them too/,
    );
  });
});
