import { isInitialized } from '../../store/data-source.js';
import { connectorFor } from '../../store/connectors/index.js';
import { type DialectName, dialectNameOf } from '../../store/dialects/dialect-name.js';
import { toMilliseconds } from '../../options/duration.js';
import { noSealer } from '../../store/sealer.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import type { Command, Invocation } from '../command.js';
import { disconnect } from '../database/connection.js';
import { withoutSecrets } from '../database/redact.js';
import { redisClients, redisUrls } from '../database/redis-clients.js';
import { type Application, examineApplication, findApplication } from '../doctor/application.js';
import { type Check, examine, UNREACHABLE, unreachable } from '../doctor/examine.js';
import { failure, type Finding, hint, type Level, LEVELS, worstOf } from '../doctor/finding.js';
import { mysqlConnections, mysqlSettings, mysqlTables } from '../doctor/mysql.js';
import { postgresConnections, postgresSettings, postgresTable } from '../doctor/postgres.js';
import { records } from '../doctor/records.js';
import { redis } from '../doctor/redis.js';
import { clock, rehearsal, tables, version } from '../doctor/server.js';
import { sqliteSettings } from '../doctor/sqlite.js';
import { inOwnProcess } from '../doctor/own-process.js';
import { DEFAULT_SETTINGS, type Subject } from '../doctor/subject.js';
import { CliError, ExitCode, usageError } from '../exit-codes.js';
import type { Style, Terminal } from '../output/terminal.js';
import { durationOf, wholeNumber } from '../values.js';

const CHECK_WITHIN_MS = 10_000;
const LOAD_WITHIN_MS = 30_000;
/** The boot check asks twice within one check, and says more of what went wrong than the end of the check. */
const STATEMENT_SHARE = 0.4;

/** Of what a database is examined, beside what all have. */
const SETTINGS: Record<DialectName, Readonly<Record<string, (subject: Subject) => Promise<Finding[]>>>> = {
  postgres: {
    'postgres.settings': postgresSettings,
    'postgres.table': postgresTable,
    connections: postgresConnections,
  },
  mysql: { 'mysql.settings': mysqlSettings, 'mysql.tables': mysqlTables, connections: mysqlConnections },
  sqlite: { 'sqlite.settings': sqliteSettings },
};

const STYLES: Record<Level, Style> = { ok: 'green', note: 'cyan', warning: 'yellow', failure: 'red' };
const WIDEST_LEVEL = Math.max(...LEVELS.map(({ length }) => length));

export const doctor: Command = {
  name: 'doctor',
  operands: '',
  summary: 'Checks the database, Redis and the routes of the application, and says what to do',
  options: {
    app: {
      type: 'string',
      value: '<file>',
      description:
        'compiled root module; default: dist/app.module.js. Creates its providers; does not listen or call hooks',
    },
    'no-app': { type: 'boolean', description: 'do not load the application; examine the database and --redis alone' },
    redis: {
      type: 'string',
      value: '<urls>',
      description: 'redis:// URLs, separated by commas; default: the nodes of the loaded application',
    },
    processes: { type: 'string', value: '<n>', description: 'how many processes the application runs in; default: 1' },
  },
  exitCodes:
    'Exit codes: 0 nothing but ok and notes; 1 a warning; 2 wrong usage; 3 database unreachable; 4 another failure',
  arity: [0, 0],
  async run(invocation) {
    const { terminal, json, flag, text } = invocation;
    const loads = !flag('no-app') && findApplication(text('app')) !== undefined;
    const findings = await (loads ? inOwnProcess(() => findingsOf(invocation)) : findingsOf(invocation));
    // Why there are none stands on stderr.
    if (!Array.isArray(findings)) return findings;
    if (json) terminal.json({ worst: worstOf(findings), findings });
    else terminal.print(textOf(terminal, findings));
    return exitCodeOf(findings);
  },
};

async function findingsOf(invocation: Invocation): Promise<Finding[]> {
  const { text, flag, hasDatabase, terminal } = invocation;
  const given = toMilliseconds(durationOf('timeout', text('timeout')));
  const processes = wholeNumber('processes', text('processes')) ?? 1;
  if (flag('no-app') && text('app') !== undefined) throw usageError('--app and --no-app contradict each other');
  const urls = redisUrls(text('redis'));
  const file = flag('no-app') ? undefined : findApplication(text('app'));
  if (file === undefined && !hasDatabase) {
    throw usageError(
      'There is no dist/app.module.js and no DATABASE_URL. Build the application, name its root module with --app, or ' +
        'give --database-url',
      'npx nest build && npx nestjs-idempotency doctor',
    );
  }
  const findings: Finding[] = [];
  const secrets = [...(urls ?? [])];
  const withoutThem = (said: string) => withoutSecrets(terminal.clean(said), secrets);
  const clean = (some: readonly Finding[]) =>
    findings.push(
      ...some.map(({ remedy, ...one }) => ({
        ...one,
        message: withoutThem(one.message),
        ...(remedy !== undefined && { remedy: withoutThem(remedy) }),
      })),
    );
  let application: Application | undefined;
  if (file === undefined) {
    findings.push(
      hint('application', 'The routes were not examined', 'Name the compiled root module: --app dist/app.module.js'),
    );
  } else {
    terminal.note(`Loading ${file}: creates its providers, without listening and without lifecycle hooks`);
    const examined = await examineApplication(file, given ?? LOAD_WITHIN_MS);
    application = examined.application;
    secrets.push(...examined.secrets);
    clean(examined.findings);
  }
  const timeoutMs = given ?? CHECK_WITHIN_MS;
  if (application !== undefined || hasDatabase)
    clean(await examineDatabase(invocation, application, processes, timeoutMs));
  clean(await examineRedis(urls, application, timeoutMs));
  return findings;
}

/** The application's own data source, unless another database is named beside it. */
async function examineDatabase(
  { text, dataSource: connect }: Invocation,
  application: Application | undefined,
  processes: number,
  timeoutMs: number,
): Promise<Finding[]> {
  const isTheirs = application !== undefined && text('database-url') === undefined;
  let dataSource;
  try {
    dataSource = isTheirs ? application.dataSource : await connect();
  } catch (error) {
    if (error instanceof CliError && error.exitCode === ExitCode.unreachable) return [unreachable(error.message)];
    throw error;
  }
  if (!isInitialized(dataSource)) {
    const message = "The application's data source is not initialized, and was not examined";
    return [hint('database.initialized', message, 'Name the database: --database-url')];
  }
  try {
    const statementMs = timeoutMs * STATEMENT_SHARE;
    const settings = { timeoutMs: statementMs, sealer: noSealer };
    const subject: Subject = {
      dataSource,
      store: new SqlRecordStore(dataSource, connectorFor(dataSource), settings),
      timeoutMs: statementMs,
      processes,
      application: isTheirs ? application.settings : DEFAULT_SETTINGS,
    };
    const checks: Record<string, (subject: Subject) => Promise<Finding[]>> = {
      'database.version': version,
      'database.writes': rehearsal,
      tables,
      ...SETTINGS[dialectNameOf(dataSource)],
      clock,
      records,
    };
    const all = Object.entries(checks).map(([name, check]): Check => ({ name, run: () => check(subject) }));
    return await examine(all, timeoutMs);
  } finally {
    if (isTheirs) await disconnect(dataSource);
  }
}

async function examineRedis(
  urls: readonly string[] | undefined,
  application: Application | undefined,
  timeoutMs: number,
): Promise<Finding[]> {
  const isRequired = application?.options.onLockUnavailable === 'reject';
  if (urls === undefined) {
    const own = application?.options.redis ?? [];
    return own.length > 0 ? redis(own, isRequired, timeoutMs) : [];
  }
  let end = () => {};
  try {
    const { clients, ...made } = await redisClients(urls, timeoutMs);
    end = made.end;
    return await redis(clients, isRequired, timeoutMs);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [failure('redis.client', error.message, "Install it beside the application, in this folder's project")];
  } finally {
    end();
  }
}

function textOf(terminal: Terminal, findings: readonly Finding[]): string {
  const indent = ' '.repeat(WIDEST_LEVEL + 2);
  const lines = findings.flatMap(({ level, message, remedy }) => [
    `${terminal.style(STYLES[level], level)}${' '.repeat(WIDEST_LEVEL + 2 - level.length)}${message}`,
    ...(remedy === undefined ? [] : [`${indent}→ ${remedy}`]),
  ]);
  const counts = [...LEVELS]
    .reverse()
    .map((level) => `${findings.filter((finding) => finding.level === level).length} ${level}`);
  return [...lines, '', counts.join(', ')].join('\n');
}

/** By the worst finding. */
function exitCodeOf(findings: readonly Finding[]): ExitCode {
  switch (worstOf(findings)) {
    case 'failure':
      return findings.some(({ check }) => check === UNREACHABLE) ? ExitCode.unreachable : ExitCode.database;
    case 'warning':
      return ExitCode.refused;
    default:
      return ExitCode.fine;
  }
}
