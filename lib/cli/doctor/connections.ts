import { sharedMysqlPool } from '../../store/connectors/mysql-pool.js';
import { sharedPostgresPool } from '../../store/connectors/postgres-pool.js';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { failure, type Finding, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** Above this share of the server's limit, a deployment that starts new processes before it ends old ones exceeds it. */
const CROWDED_SHARE = 0.8;

/**
 * Compares the connections that all processes may open with the limit of the server.
 *
 * @param allowed how many the server leaves to this user and database
 * @param by the setting that limits them
 */
export function connections(subject: Subject, allowed: number, by: string): Finding {
  const { dataSource, application, processes } = subject;
  const isPostgres = dialectNameOf(dataSource) === 'postgres';
  const pool = (isPostgres ? sharedPostgresPool : sharedMysqlPool)(dataSource).limit;
  if (!Number.isFinite(pool)) {
    const remedy = "Give it one, by `poolSize` in the data source's options";
    return hint('connections', 'The pool of the data source has no limit', remedy);
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
  if (needed > allowed) return failure('connections', message, remedy);
  if (needed > allowed * CROWDED_SHARE) return warning('connections', message, remedy);
  const room = `${message}: room for ${Math.floor(allowed / each)} processes`;
  return ok('connections', processes === 1 ? `${room}; --processes <n> calculates for n of them` : room);
}
