import { IDEMPOTENCY_ENTITIES } from '../../store/entities/index.js';
import { bytes } from '../output/format.js';
import { connections } from './connections.js';
import { failure, type Finding, type Findings, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** What goes with a response in one packet: its headers, the statement, the other columns. */
const BESIDE_RESPONSE_BYTES = 64 * 1_024;
const BLOATED_BYTES = 100 * 1_024 ** 2;
/** Most clients give up before a lock wait that is longer than this. */
const LONG_LOCK_WAIT_S = 10;

const VARIABLES = [
  'innodb_flush_log_at_trx_commit',
  'innodb_lock_wait_timeout',
  'log_bin',
  'max_allowed_packet',
  'max_connections',
  'max_user_connections',
  'sql_mode',
  'sync_binlog',
  'transaction_isolation',
  // MariaDB before 11.1.
  'tx_isolation',
] as const;

type Variables = ReadonlyMap<string, string>;

/** Reads the variables of the session, as a connection of the application has them. */
async function variablesOf({ dataSource }: Subject): Promise<Variables> {
  const rows = await dataSource.query<{ Variable_name: string; Value: string }[]>(
    `SHOW VARIABLES WHERE Variable_name IN (${VARIABLES.map((name) => `'${name}'`).join(', ')})`,
  );
  return new Map(rows.map(({ Variable_name, Value }) => [Variable_name, Value]));
}

export async function* mysqlSettings(subject: Subject): Findings {
  const variables = await variablesOf(subject);
  yield packets(Number(variables.get('max_allowed_packet')), subject);
  yield durability(variables);
  yield* sessions(variables, subject);
}

export async function* mysqlConnections(subject: Subject): Findings {
  const variables = await variablesOf(subject);
  const [server, user] = [Number(variables.get('max_connections')), Number(variables.get('max_user_connections'))];
  const isOfUser = user > 0 && user < server;
  yield connections(subject, isOfUser ? user : server, isOfUser ? 'max_user_connections' : 'max_connections');
}

function packets(most: number, { application }: Subject): Finding {
  const needed = application.responseMaxBytes + BESIDE_RESPONSE_BYTES;
  const largest = `a response of up to ${bytes(application.responseMaxBytes)} (\`response.maxBytes\`)`;
  if (most >= needed) return ok('mysql.max_allowed_packet', `max_allowed_packet = ${bytes(most)} takes ${largest}`);
  return warning(
    'mysql.max_allowed_packet',
    `max_allowed_packet = ${bytes(most)} does not take ${largest}: such operations are recorded as done without it, and ` +
      'their retries get 409 replay-unavailable',
    `SET GLOBAL max_allowed_packet = ${2 ** Math.ceil(Math.log2(needed))} and in the server's configuration, or lower \`response.maxBytes\``,
  );
}

function durability(variables: Variables): Finding {
  const off = [
    ...(variables.get('innodb_flush_log_at_trx_commit') === '1' ? [] : ['innodb_flush_log_at_trx_commit']),
    ...(variables.get('log_bin') === 'ON' && variables.get('sync_binlog') !== '1' ? ['sync_binlog'] : []),
  ];
  if (off.length === 0) return ok('mysql.durability', 'A committed record survives a crash of the server');
  return warning(
    'mysql.durability',
    `${off.map((name) => `${name} = ${variables.get(name)}`).join(', ')}: a crash of the machine loses keys that were ` +
      'acknowledged, and their retries run again',
    `Set ${off.map((name) => `${name} = 1`).join(' and ')}, at least where effects leave this database`,
  );
}

function* sessions(variables: Variables, { application }: Subject): Generator<Finding> {
  if (!/STRICT_(TRANS|ALL)_TABLES/.test(variables.get('sql_mode') ?? '')) {
    yield warning(
      'mysql.sql_mode',
      'sql_mode is not strict: values that do not fit are cut off instead of refused, also those of your handlers',
      'Add STRICT_TRANS_TABLES to sql_mode',
    );
  }
  const isolation = variables.get('transaction_isolation') ?? variables.get('tx_isolation') ?? '';
  if (isolation === 'SERIALIZABLE') {
    yield hint(
      'mysql.isolation',
      'transaction_isolation = SERIALIZABLE: safe, but transactional operations lock what they read, and deadlock more often',
      'Leave it at REPEATABLE-READ or READ-COMMITTED, and raise the level where a handler needs it',
    );
  }
  const lockWait = Number(variables.get('innodb_lock_wait_timeout'));
  if (application.storeConnections === 0 && lockWait > LONG_LOCK_WAIT_S) {
    yield hint(
      'mysql.lock_wait',
      `innodb_lock_wait_timeout = ${lockWait} s: with \`storeConnections: 0\`, a statement waits as long for a locked row`,
      'Lower it, or let the store have connections of its own, which wait for a second at a time',
    );
  }
}

export async function* mysqlTables({ dataSource }: Subject): Findings {
  const names = IDEMPOTENCY_ENTITIES.map((entity) => dataSource.getMetadata(entity).tableName);
  const rows = await dataSource.query<{ name: string; engine: string; used: string; free: string }[]>(
    `SELECT table_name AS name, engine AS engine, data_length + index_length AS used, data_free AS free
     FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (?, ?)`,
    names,
  );
  for (const { name, engine, used, free } of rows) {
    const message = `${name} takes ${bytes(Number(used))} with its indexes`;
    if (engine !== 'InnoDB') {
      yield failure(
        'mysql.engine',
        `${name} is of the engine ${engine}, which has no transactions: claims are not atomic with what they guard`,
        `ALTER TABLE ${name} ENGINE = InnoDB;`,
      );
    } else if (Number(free) < BLOATED_BYTES || Number(free) < Number(used)) yield ok('mysql.bloat', message);
    else {
      yield hint(
        'mysql.bloat',
        `${message}, and ${bytes(Number(free))} of its file are free`,
        `The space is used again. To give it back: OPTIMIZE TABLE ${name}; at a quiet time`,
      );
    }
  }
}
