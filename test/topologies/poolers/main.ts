/** Poolers between the applications and PostgreSQL: PgBouncer in each mode, and pgpool, which sends reads to a standby. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startPgBouncer, startPostgres, startStandby, type Server } from '../../support/servers.mjs';
import { query } from '../support/postgres.js';
import { flags, type Scenario, Topology } from '../support/topology.js';
import { Pgpool } from './pgpool.js';

const LEASE_MS = 3_000;
const APPLICATIONS = 3;
const success: boolean[] = [];
/** What the library logs of poolers. */
const PREPARED = 'does not keep prepared statements';
const NOTIFY = 'NOTIFY is not heard';
const BOOT_CHECK = 'The boot check could not';
const LINES = [PREPARED, NOTIFY, BOOT_CHECK];
const primary = await startPostgres();

const at = (port: number) => ({
  type: 'postgres' as const,
  host: '127.0.0.1',
  port,
  username: 'postgres',
  database: 'test',
});

function isAsked(name: string): boolean {
  return flags.only === undefined || new RegExp(flags.only).test(name);
}

/** @param says what applications log, once each, out of {@link LINES} */
async function behind(
  port: number,
  scenarios: (topology: Topology) => Readonly<Record<string, Scenario>>,
  says: readonly string[] = [],
): Promise<void> {
  const databases = Array.from({ length: APPLICATIONS }, () => at(port));
  const topology = await Topology.start({
    name: 'poolers',
    databases,
    administration: at(primary.port),
    leaseMs: LEASE_MS,
  });
  const asked = scenarios(topology);
  for (const [name, scenario] of Object.entries(asked)) await topology.run(name, scenario);
  for (let i = 0; i < APPLICATIONS; i++) {
    const { output } = topology.app(i);
    // The first one has just been started again, and may not have come to it.
    const wrong = LINES.filter((line) => {
      const times = output.split(line).length - 1;
      return says.includes(line) ? times > 1 || (times === 0 && i > 0) : times > 0;
    });
    if (wrong.length) console.log(`poolers: application ${i} said, or did not say: ${wrong.join(', ')}`);
    success.push(wrong.length === 0);
  }
  const passed = await topology.stop();
  success.push(passed || Object.keys(asked).length === 0);
}

/** One process dies, and what it was running is taken over. */
async function killOne(topology: Topology): Promise<void> {
  await topology.app(0).stop();
  await sleep(LEASE_MS + 1_000);
  await topology.startApp(0);
}

async function bouncer(mode: 'session' | 'transaction', says: readonly string[]): Promise<void> {
  const name = `PgBouncer in ${mode} mode, a process killed`;
  if (!isAsked(name)) return;
  // In transaction mode, fewer connections than the processes have, so that they are handed around.
  const size = mode === 'session' ? 90 : 8;
  const settings = [`pool_mode = ${mode}`, `default_pool_size = ${size}`];
  const server = await startPgBouncer(primary.port, settings);
  await behind(server.port, (topology) => ({ [name]: { gapLimitMs: 20_000, fault: () => killOne(topology) } }), says);
  await server.dispose();
}

/** Transactions are refused there, and with them applications that boot. */
async function refused(): Promise<void> {
  const name = 'PgBouncer in statement mode';
  if (!isAsked(name)) return;
  const server = await startPgBouncer(primary.port, ['pool_mode = statement']);
  await behind(server.port, () => ({}), [BOOT_CHECK]);
  console.log(`poolers: ${name}: the boot check says so`);
  await server.dispose();
}

/** What decides must not be read at a standby, which may be late. */
async function noRecordsAtStandby(pgpool: Pgpool): Promise<string> {
  const statements = (await pgpool.atStandby()).filter((statement) => /idempotency|SELECT [rs]\./.test(statement));
  for (const statement of statements) console.log(`  at the standby: ${statement}`);
  success.push(statements.length === 0);
  return statements.length ? 'records read at the standby' : 'no record read at the standby';
}

async function pool(standby: Server): Promise<void> {
  const pgpool = await Pgpool.start(primary.port, standby.port);
  await behind(pgpool.port, (topology) => ({
    'pgpool, a process killed while the standby lags': {
      gapLimitMs: 20_000,
      fault: async () => {
        await query(standby.port, 'SELECT pg_wal_replay_pause()');
        await killOne(topology);
        await query(standby.port, 'SELECT pg_wal_replay_resume()');
      },
      notes: () => noRecordsAtStandby(pgpool),
    },
  }));
  await pgpool.dispose();
}

await bouncer('session', []);
await bouncer('transaction', [PREPARED, NOTIFY]);
await refused();
if (isAsked('pgpool, a process killed while the standby lags')) {
  const standby = await startStandby(primary);
  await pool(standby);
  await standby.dispose();
}
await primary.dispose();
process.exit(success.every(Boolean) ? 0 : 1);
