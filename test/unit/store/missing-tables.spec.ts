import { QueryFailedError } from 'typeorm';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { MISSING_TABLES, saysMissingTables } from '../../../lib/store/missing-tables.js';

const error = (message: string, more: object = {}) => Object.assign(new Error(message), more);

it.each([
  ['PostgreSQL: table', error('relation "idempotency_record" does not exist', { code: '42P01' })],
  ['PostgreSQL: column', error('column r.owner does not exist', { code: '42703' })],
  ['MySQL: table', error('x', { code: 'ER_NO_SUCH_TABLE', errno: 1146 })],
  ['MySQL: column', error('x', { code: 'ER_BAD_FIELD_ERROR', errno: 1054 })],
  ['SQLite: table', error('no such table: idempotency_record')],
  ['SQLite: column', error('SqliteError: no such column: owner')],
])('%s', (_, thrown) => {
  expect(saysMissingTables(thrown)).toBe(true);
  expect(saysMissingTables(new StoreUnavailableError({ cause: new QueryFailedError('SELECT', [], thrown) }))).toBe(
    true,
  );
});

it.each([
  error('duplicate key', { code: '23505' }),
  error('x', { errno: 1062 }),
  error('the server says that there is no such table: x'),
  undefined,
])('not %p', (thrown) => {
  expect(saysMissingTables(thrown)).toBe(false);
});

it('says what to do', () => {
  expect(MISSING_TABLES).toContain('nestjs-idempotency/migrations');
  expect(MISSING_TABLES).toContain('synchronize: true');
});
