import type { DataSourceOptions, QueryRunner } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';

/** Blanks, comments and opening parentheses before the first word of a statement. */
const LEADING = /^(?:\s|\(|;|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/;

/** Without ROLLBACK TO, which does not end a transaction, and BEGIN NOT ATOMIC, a block of statements. */
const TRANSACTION_CONTROL =
  /^(?:commit|end|abort|begin(?!\s+not\s+atomic\b)|start\s+transaction|prepare\s+transaction|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|set\s+(?:@@(?:session\.)?|session\s+|local\s+)?autocommit)\b/i;

const ROLLBACK = /^rollback\b(?!\s+(?:work\s+|transaction\s+)?to\b)/i;

/** Statements that commit what came before them (MySQL reference manual, "Statements That Cause an Implicit Commit"). */
const IMPLICIT_COMMIT =
  /^(?:(?:create\s+(?:or\s+replace\s+)?|drop\s+)(?!(?:temporary|or)\b)|(?:alter|truncate|rename|grant|revoke|analyze(?=\s+(?:\w+\s+)?table\b)|optimize|repair|flush|install|uninstall|(?:check|import)(?=\s+table\b)|(?:cache|load)(?=\s+index\b)|set(?=\s+password\b))\s|(?:un)?lock\s+tables?\b)/i;

/** PostgreSQL's. May match a setting of another name, which then costs two statements more and changes nothing. */
const ROLE_CHANGE =
  /(?:^|;|\*\/)\s*set\b[^;]*\b(?:role|authorization)\b|\bset_config\s*\(\s*'(?:role|session_authorization)'/i;

/** PostgreSQL's, for all settings of the session and the transaction. */
const RESET = /^\s*reset\s+all\b/i;

const WRITE = /^(?:insert|update|delete|merge|replace|truncate|call|copy|load\s+data|create|alter|drop)\b/i;
/** Without FOR UPDATE, which locks rows of a SELECT. */
const WRITE_BEHIND_WITH = /\b(?:insert\s+into|(?<!\bfor\s+(?:no\s+key\s+)?)update|delete\s+from|merge\s+into)\b/i;

/** SQLite's. May match a function of a SELECT. */
const WRITE_WITHIN_WITH = /\b(?:insert|update|delete|replace)\b/i;

/** Returns whether a statement would end the transaction that it runs in. */
export function endsTransaction(sql: string, { commitsImplicitly }: Pick<Dialect, 'commitsImplicitly'>): boolean {
  const statement = sql.replace(LEADING, '');
  return TRANSACTION_CONTROL.test(statement) || (commitsImplicitly && IMPLICIT_COMMIT.test(statement));
}

/** Returns whether a statement rolls the whole transaction back, and not to a savepoint. */
export function rollsBack(sql: string): boolean {
  return ROLLBACK.test(sql.replace(LEADING, ''));
}

/**
 * Returns whether a statement ends a transaction of TypeORM within another one. TypeORM numbers savepoints by how many are open. Of
 * transactions that overlap, one that fails may leave its writes, and one that succeeds may lose them.
 */
export function endsSavepoint(sql: string): boolean {
  return /^(?:RELEASE|ROLLBACK TO) SAVEPOINT typeorm_/.test(sql);
}

/** Returns whether a statement makes the rest of a PostgreSQL transaction run as another role, as far as its text shows. */
export function changesRole(sql: string): boolean {
  return ROLE_CHANGE.test(sql);
}

/** Returns whether a statement undoes the settings of the transaction, that by which the store knows it among them. */
export function resetsSettings(sql: string): boolean {
  return RESET.test(sql);
}

/**
 * Returns whether a statement writes, as far as its text shows: a SELECT may call a function that writes. What TypeORM writes when it keeps
 * the result of a query is no write.
 */
export function isWrite(sql: string, { connection: dataSource }: QueryRunner): boolean {
  const statement = sql.replace(LEADING, '');
  const writes = WRITE.test(statement) || (/^with\b/i.test(statement) && WRITE_BEHIND_WITH.test(statement));
  return writes && !isOfQueryCache(sql, dataSource.options);
}

/** Returns whether a statement of SQLite reads, and does nothing else: a PRAGMA may change a setting that ends with the transaction. */
export function onlyReads(sql: string): boolean {
  const statement = sql.replace(LEADING, '');
  return /^(?:select|values)\b/i.test(statement) || (/^with\b/i.test(statement) && !WRITE_WITHIN_WITH.test(statement));
}

function isOfQueryCache(sql: string, { cache }: DataSourceOptions): boolean {
  if (!cache) return false;
  const table = (cache !== true && cache.tableName) || 'query-result-cache';
  return sql.includes(`"${table}"`) || sql.includes(`\`${table}\``);
}
