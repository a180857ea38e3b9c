import type { QueryRunner } from 'typeorm';
import {
  changesRole,
  endsSavepoint,
  endsTransaction,
  isWrite,
  resetsSettings,
  rollsBack,
} from '../../../lib/store/transactions/statements.js';

describe('changesRole', () => {
  it.each([
    'SET ROLE tenant',
    'set local role "tenant"',
    "SET SESSION ROLE TO 'tenant'",
    "SET LOCAL request.jwt.claims = '{}'; SET LOCAL ROLE tenant",
    "SELECT set_config('request.jwt.claims', $1, true), set_config('role', 'tenant', true)",
    "select set_config( 'session_authorization', $1, true)",
    '\n  /* of the request */ SET SESSION AUTHORIZATION tenant',
  ])('%j changes the role', (sql) => {
    expect(changesRole(sql)).toBe(true);
  });

  it.each([
    'UPDATE users SET role = $1 WHERE id = $2',
    'INSERT INTO roles (role) VALUES ($1)',
    "SELECT set_config('app.tenant', $1, true)",
    "SET LOCAL app.tenant = '7'; SELECT role FROM users",
    'SET LOCAL search_path TO tenant',
  ])('%j does not', (sql) => {
    expect(changesRole(sql)).toBe(false);
  });
});

describe('isWrite', () => {
  const runnerWith = (cache: unknown) => ({ connection: { options: { cache } } }) as QueryRunner;
  const runner = runnerWith(undefined);

  it.each([
    'INSERT INTO orders VALUES (1)',
    '\n -- of the report\n /* nightly */ ; (update orders SET paid = true)',
    'WITH paid AS (SELECT 1) INSERT  INTO orders SELECT * FROM paid',
    'with gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone',
    'WITH due AS (SELECT id FROM jobs FOR UPDATE SKIP LOCKED) UPDATE jobs SET taken = true FROM due',
    'WITH x AS (SELECT 1) MERGE INTO orders USING x ON true WHEN MATCHED THEN DELETE',
    'CALL settle()',
    'LOAD DATA INFILE "orders.csv" INTO TABLE orders',
  ])('%j is a write', (sql) => {
    expect(isWrite(sql, runner)).toBe(true);
  });

  it.each([
    'SELECT * FROM orders FOR UPDATE',
    'WITH due AS (SELECT id FROM jobs) SELECT * FROM due JOIN jobs USING (id) FOR UPDATE',
    'WITH due AS (SELECT id FROM jobs FOR NO KEY  UPDATE SKIP LOCKED) SELECT * FROM due',
    'WITH recent AS (SELECT updated_at FROM orders) SELECT * FROM recent',
    "SELECT 'INSERT INTO orders'",
    'SELECT * FROM orders -- WITH a comment: INSERT INTO orders',
    'inserted',
    'SHOW TABLES',
  ])('%j is none', (sql) => {
    expect(isWrite(sql, runner)).toBe(false);
  });

  it.each<[unknown, string, boolean]>([
    [true, 'INSERT INTO "query-result-cache"("id") VALUES (1)', false],
    [true, 'UPDATE `query-result-cache` SET `id` = 1', false],
    [{ alwaysEnabled: true }, 'INSERT INTO "query-result-cache"("id") VALUES (1)', false],
    [{ tableName: 'kept' }, 'INSERT INTO "kept"("id") VALUES (1)', false],
    [{ tableName: 'kept' }, 'INSERT INTO "query-result-cache"("id") VALUES (1)', true],
    [true, 'INSERT INTO "orders" VALUES (1)', true],
    [false, 'INSERT INTO "query-result-cache"("id") VALUES (1)', true],
  ])('with the cache %j, %j is a write: %s', (cache, sql, expected) => {
    expect(isWrite(sql, runnerWith(cache))).toBe(expected);
  });
});

describe('rollsBack', () => {
  it.each([
    ['ROLLBACK', true],
    ['/* of a subscriber */ rollback work', true],
    ['ROLLBACK TO SAVEPOINT typeorm_1', false],
    ['ROLLBACK WORK TO before', false],
    ['ROLLBACKS', false],
  ])('%j: %s', (sql, expected) => {
    expect(rollsBack(sql)).toBe(expected);
  });
});

describe('endsSavepoint', () => {
  it.each([
    ['RELEASE SAVEPOINT typeorm_1', true],
    ['ROLLBACK TO SAVEPOINT typeorm_2', true],
    ['ROLLBACK TO SAVEPOINT before', false],
    ['SELECT 1 -- RELEASE SAVEPOINT typeorm_1', false],
  ])('%j: %s', (sql, expected) => {
    expect(endsSavepoint(sql)).toBe(expected);
  });
});

describe('resetsSettings', () => {
  it.each([
    [' reset  all', true],
    ['RESET ALLOWED', false],
    ['RESET role', false],
    ['SELECT 1; RESET ALL', false],
  ])('%j: %s', (sql, expected) => {
    expect(resetsSettings(sql)).toBe(expected);
  });
});

describe('endsTransaction', () => {
  it.each([
    ['COMMIT AND CHAIN', true, true],
    ['BEGIN', true, true],
    ['BEGIN NOT ATOMIC SELECT 1; END', false, false],
    ['ROLLBACK TO SAVEPOINT before', false, false],
    ['SET autocommit = 1', true, true],
    ['CREATE TABLE t (id int)', false, true],
    ['CREATE TEMPORARY TABLE t (id int)', false, false],
    ['DROP TEMPORARY TABLE t', false, false],
    ['LOCK TABLES t WRITE', false, true],
    ['CHECK TABLE t', false, true],
    ['SET PASSWORD FOR a = "b"', false, true],
    ['UPDATE commit SET id = 1', false, false],
  ])('%j: %s, and %s where DDL commits', (sql, expected, implicitly) => {
    const ends = [false, true].map((commitsImplicitly) => endsTransaction(sql, { commitsImplicitly }));
    expect(ends).toEqual([expected, implicitly]);
  });
});
