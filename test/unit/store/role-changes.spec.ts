import { changesRole } from '../../../lib/store/transactions/statements.js';

test.each([
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

test.each([
  'UPDATE users SET role = $1 WHERE id = $2',
  'INSERT INTO roles (role) VALUES ($1)',
  "SELECT set_config('app.tenant', $1, true)",
  "SET LOCAL app.tenant = '7'; SELECT role FROM users",
  'SET LOCAL search_path TO tenant',
])('%j does not', (sql) => {
  expect(changesRole(sql)).toBe(false);
});
