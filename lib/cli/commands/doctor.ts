import { connectorFor } from '../../store/connectors/index.js';
import { isInitialized } from '../../store/data-source.js';
import { type DialectName, dialectNameOf } from '../../store/dialects/dialect-name.js';
import { noSealer } from '../../store/sealer.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import { toMilliseconds } from '../../options/duration.js';
import type { Command, Invocation } from '../command.js';
import { disconnect } from '../database/connection.js';
import { withoutSecrets } from '../database/redact.js';
import { redisClients, redisUrls } from '../database/redis-clients.js';
import { type Application, examineApplication, findApplication } from '../doctor/application.js';
import { type Checks, examine, UNREACHABLE, unreachable } from '../doctor/examine.js';
import { collect, failure, type Finding, hint, type Level, LEVELS, worstOf } from '../doctor/finding.js';
import { mysqlConnections, mysqlSettings, mysqlTables } from '../doctor/mysql.js';
import { inOwnProcess } from '../doctor/own-process.js';
import { postgresConnections, postgresSettings, postgresTable } from '../doctor/postgres.js';
import { records } from '../doctor/records.js';
import { redis } from '../doctor/redis.js';
import { clock, rehearsal, tables, version } from '../doctor/server.js';
import { sqliteSettings } from '../doctor/sqlite.js';
import { DEFAULT_SETTINGS, type Subject } from '../doctor/subject.js';
import { CliError, ExitCode, noDatabase, usageError } from '../exit-codes.js';
import { pairs } from '../output/table.js';
import type { Style, Terminal } from '../output/terminal.js';
import { durationOf, wholeNumber } from '../values.js';

const CHECK_WITHIN_MS = 10_000;
const LOAD_WITHIN_MS = 30_000;
/** The share of a check's time that one statement gets: the boot check sends two, and its error says more than the check's. */
const STATEMENT_SHARE = 0.4;

/** The checks that only one kind of database has. */
const OF_DIALECT: Record<DialectName, Checks> = {
  postgres: {
    'postgres.settings': postgresSettings,
    'postgres.table': postgresTable,
    connections: postgresConnections,
  },
  mysql: { 'mysql.settings': mysqlSettings, 'mysql.tables': mysqlTables, connections: mysqlConnections },
  sqlite: { 'sqlite.settings': sqliteSettings },
};

const STYLES: Record<Level, Style> = { ok: 'green', note: 'cyan', warning: 'yellow', failure: 'red' };

export const doctor: Command = {
  name: 'doctor',
  operand: '',
  summary: 'Checks the database, Redis and the routes of the application, and says what to do',
  options: {
    'app <file>':
      'compiled root module; default: dist/app.module.js. Creates its providers; does not listen or call hooks',
    'no-app': 'do not load the application; examine the database and --redis alone',
    'redis <urls>': 'redis:// URLs, separated by commas; default: the nodes of the loaded application',
    'processes <n>': 'how many processes the application runs in; default: 1',
  },
  exitCodes:
    'Exit codes: 0 nothing but ok and notes; 1 a warning; 2 wrong usage; 3 database unreachable; 4 another failure',
  async run(invocation) {
    const { terminal, flag, text, result } = invocation;
    const loads = !flag('no-app') && findApplication(text('app')) !== undefined;
    const findings = await (loads ? inOwnProcess(() => findingsOf(invocation)) : findingsOf(invocation));
    // The other process has printed why it has no findings.
    if (!Array.isArray(findings)) return findings;
    result({ worst: worstOf(findings), findings }, asLines(terminal, findings));
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
    if (flag('no-app')) throw noDatabase();
    throw usageError(
      'There is no dist/app.module.js and no DATABASE_URL. Build the application, name its root module with --app, or ' +
        'give --database-url',
      'npx nest build && npx nestjs-idempotency doctor',
    );
  }
  const findings: Finding[] = [];
  const secrets = [...(urls ?? [])];
  let application: Application | undefined;
  if (file === undefined) {
    const remedy = 'Name the compiled root module: --app dist/app.module.js';
    findings.push(hint('application', 'The routes were not examined', remedy));
  } else {
    terminal.note(`Loading ${file}: creates its providers, without listening and without lifecycle hooks`);
    const examined = await examineApplication(file, given ?? LOAD_WITHIN_MS);
    application = examined.application;
    secrets.push(...examined.secrets);
    findings.push(...examined.findings);
  }
  const timeoutMs = given ?? CHECK_WITHIN_MS;
  if (application !== undefined || hasDatabase)
    findings.push(...(await examineDatabase(invocation, application, processes, timeoutMs)));
  findings.push(...(await examineRedis(urls, application, timeoutMs)));
  const clean = (said: string) => withoutSecrets(terminal.clean(said), secrets);
  return findings.map(({ message, remedy, ...one }) => ({
    ...one,
    message: clean(message),
    remedy: remedy && clean(remedy),
  }));
}

/** Examines the application's own data source, unless the operator names another database. */
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
    if (!(error instanceof CliError) || error.exitCode !== ExitCode.unreachable) throw error;
    return [unreachable(error.message, error.next)];
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
    const checks: Checks = {
      'database.version': version,
      'database.writes': rehearsal,
      tables,
      ...OF_DIALECT[dialectNameOf(dataSource)],
      clock,
      records,
    };
    return await examine(checks, subject, timeoutMs);
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
  let end = () => {};
  try {
    const named = urls && (await redisClients(urls, timeoutMs));
    end = named?.end ?? end;
    const clients = named?.clients ?? application?.options.redis ?? [];
    return clients.length > 0 ? await collect(redis(clients, isRequired, timeoutMs)) : [];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [failure('redis.client', error.message, error.next)];
  } finally {
    end();
  }
}

function asLines(terminal: Terminal, findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ level, message, remedy }): [string, string][] => [
    [terminal.style(STYLES[level], level), message],
    ...(remedy === undefined ? [] : ([['', `→ ${remedy}`]] as [string, string][])),
  ]);
  const counts = LEVELS.toReversed().map(
    (level) => `${findings.filter((finding) => finding.level === level).length} ${level}`,
  );
  return `${pairs(lines, terminal.columns)}\n\n${counts.join(', ')}`;
}

/** Follows the worst finding. */
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
