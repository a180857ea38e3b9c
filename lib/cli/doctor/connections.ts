import { sharedMysqlPool } from '../../store/connectors/mysql-pool.js';
import { sharedPostgresPool } from '../../store/connectors/postgres-pool.js';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { failure, type Finding, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** From which share of what the server allows there is no room left for anything else. */
const CROWDED = 0.8;

/**
 * Compares the connections that all processes may open with those that the server allows.
 *
 * @param allowed how many the server leaves to this user and database
 * @param by the setting that says so
 */
export function connections(subject: Subject, allowed: number, by: string): Finding[] {
  const { dataSource, application, processes } = subject;
  const isPostgres = dialectNameOf(dataSource) === 'postgres';
  const pool = (isPostgres ? sharedPostgresPool : sharedMysqlPool)(dataSource).limit;
  if (!Number.isFinite(pool)) {
    return [
      hint(
        'connections',
        'The pool of the data source has no limit',
        "Give it one, by `poolSize` in the data source's options",
      ),
    ];
  }
  const own = Math.min(application.storeConnections, pool);
  const listening = isPostgres && !application.usesRedis ? 1 : 0;
  const each = pool + own + listening;
  const needed = each * processes;
  const parts = [
    `${pool} of the data source`,
    `${own} of the store`,
    ...(listening ? ['1 that listens'] : []),
    ...(application.isKnown ? [] : ['by default']),
  ].join(', ');
  const all = processes === 1 ? 'One process opens' : `${processes} processes open`;
  const message = `${all} up to ${needed} connections (${each} each: ${parts}), and the server allows ${allowed} (${by})`;
  const remedy =
    `Raise ${by}, or lower \`poolSize\` of the data source or the option \`storeConnections\`, or put a pooler in front ` +
    '(docs/operations.md#poolers)';
  if (needed > allowed) return [failure('connections', message, remedy)];
  if (needed > allowed * CROWDED) return [warning('connections', message, remedy)];
  const room = `: room for ${Math.floor(allowed / each)} processes`;
  return [ok('connections', `${message}${room}${processes === 1 ? '; --processes <n> reckons with yours' : ''}`)];
}
