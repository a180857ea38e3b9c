import { poisonsConnection, saysTooManyConnections } from '../../../lib/store/connectors/poisoned-connections.js';
import { explain, kindOf } from '../../../lib/store/driver-errors.js';

const failed = (message: string, more: object) => Object.assign(new Error(message), more);

describe('What poolers and proxies answer instead of a server', () => {
  it.each([
    ['no more connections allowed (max_client_conn)', { code: '08P01' }],
    ['Max client connections reached', { code: 'XX000' }],
    ['(EMAXCONN) max client connections reached, limit: 200', { code: 'XX000' }],
    [
      'MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size',
      { code: 'XX000' },
    ],
  ])('is that they are full: %s', (message, more) => {
    expect(saysTooManyConnections(failed(message, more))).toBe(true);
    expect(kindOf(failed(message, more))).toBe('outage');
  });

  it('is no such thing for other errors of the same code', () => {
    expect(saysTooManyConnections(failed('Tenant or user not found', { code: 'XX000' }))).toBe(false);
  });

  it.each([9001, 9006])('is an outage: %i of ProxySQL', (errno) => {
    const error = failed('Max connect timeout reached while reaching hostgroup 0 after 10000ms', { errno });
    expect(kindOf(error)).toBe('outage');
  });
});

describe('What a handler has left on a connection', () => {
  it.each([{ code: '25P02' }, { code: '25001' }, { errno: 1568 }])('is a transaction: %p', (more) => {
    expect(poisonsConnection(failed('left', more), true)).toMatchObject({ refused: true });
    // The statement of a handler, on the connection of its own transaction.
    expect(poisonsConnection(failed('left', more))).toBeUndefined();
  });

  it.each([1099, 1100])('is locked tables: %i', (errno) => {
    expect(poisonsConnection(failed('left', { errno }))).toMatchObject({ refused: true });
  });
});

test('A transaction that took too long is explained', () => {
  const error = failed('terminating connection due to transaction timeout', { code: '25P04' });
  expect(explain(error)).toContain('transaction_timeout');
});
