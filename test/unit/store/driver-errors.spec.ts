import { jest } from '@jest/globals';
import { runInNewContext } from 'node:vm';
import { QueryFailedError } from 'typeorm';
import { CommitUnknownError, StoreUnavailableError } from '../../../lib/engine/errors.js';
import {
  closedConnection,
  isRetryable,
  kindOf,
  lacksSavepoint,
  reasonOf,
  retryingConflicts,
  says,
} from '../../../lib/store/driver-errors.js';

const withCode = (code: unknown) => Object.assign(new Error('x'), { code });
const withErrno = (errno: number) => Object.assign(new Error('x'), { errno });

describe('isRetryable', () => {
  it.each(['08006', '57P01', '40001', '40P01', '53300', 'ECONNRESET', 'EPIPE', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'])(
    'says so of %s',
    (code) => expect(isRetryable(withCode(code))).toBe(true),
  );

  it.each([1205, 1213, 1020, 1040, 2006, 2013])('says so of MySQL’s %i', (errno) =>
    expect(isRetryable(withErrno(errno))).toBe(true),
  );

  it.each(['23505', '42P01', 'SQLITE_CONSTRAINT', undefined])('does not of %s', (code) =>
    expect(isRetryable(withCode(code))).toBe(false),
  );

  it('looks at what an error was caused by, and at what TypeORM wraps', () => {
    expect(isRetryable(new CommitUnknownError({ cause: withCode('40001') }))).toBe(true);
    expect(isRetryable(new StoreUnavailableError({ cause: new CommitUnknownError({ cause: withErrno(1213) }) }))).toBe(
      true,
    );
    expect(isRetryable(new QueryFailedError('SELECT', [], withCode('40P01')))).toBe(true);
    expect(isRetryable(new Error('Connection terminated unexpectedly'))).toBe(true);
    expect(isRetryable('a string')).toBe(false);
    expect(isRetryable(null)).toBe(false);
    expect(isRetryable(new Error('x', { cause: null }))).toBe(false);
  });

  it('knows errors of another realm', () => {
    expect(isRetryable(runInNewContext("Object.assign(new Error('x'), { code: 'SQLITE_BUSY' })"))).toBe(true);
  });
});

describe('kindOf', () => {
  it.each([
    ['conflict', ['40001', '40P01', '55P03', 1205, 1213, 1020, 1412, 3101, 'SQLITE_BUSY', 'SQLITE_LOCKED_SHAREDCACHE']],
    ['outage', ['08006', '53300', '53100', '57P01', '57014', '25006', '0A000', 1040, 1053, 1290, 1836, 2013, '40003']],
    // Sessions and servers of MySQL that end, group replication that is not ready.
    ['outage', [1135, 1152, 1158, 1184, 3032, 3100, 3168, 3169, 3781, 3797, 4031, 4081, 4082]],
    // What it has too little of, and schemas and storage that take no writes.
    ['outage', [1637, 1874, 3015, 3985, 3989]],
    // A full disk, and what else the server's operating system refuses it: files it writes to, storage engines, temporary files.
    ['outage', [3, 5, 20, 23, 1021, 1026, 1030, 1114]],
    [
      'outage',
      [
        'ECONNREFUSED',
        'EAI_AGAIN',
        'PROTOCOL_CONNECTION_LOST',
        'POOL_CLOSED',
        'POOL_NOEXIST',
        'SQLITE_IOERR_WRITE',
        'SQLITE_FULL',
      ],
    ],
    ['refusal', ['23503', '25P02', '25P03', '22021', '42501', 1153, 1048, 4025, 'SQLITE_CONSTRAINT_CHECK', 'ERR_X']],
  ])('takes for a %s: %p', (kind, codes) => {
    for (const code of codes) {
      expect([code, kindOf(typeof code === 'number' ? withErrno(code) : withCode(code))]).toEqual([code, kind]);
    }
  });

  it('reads the number of an error with which a connection ended, and no number of others', () => {
    const error = Object.assign(new Error('x'), { code: 1927, fatal: true });
    expect(kindOf(error)).toBe('outage');
    // UNAVAILABLE of gRPC.
    expect(kindOf(Object.assign(new Error('x'), { code: 14 }))).toBe('refusal');
  });

  it("distinguishes Galera's lost cluster from a write that is too large, which have one number", () => {
    const says = (status: string) => Object.assign(new Error(`Error (provider status: ${status})`), { errno: 1180 });
    expect(kindOf(says('Not connected to Primary Component'))).toBe('outage');
    expect(kindOf(says('Transaction size exceeded'))).toBe('refusal');
    expect(kindOf(Object.assign(new Error('Got error 90 "Message too long" during COMMIT'), { errno: 1180 }))).toBe(
      'refusal',
    );
  });

  it('takes an error without a code for a refusal', () => {
    expect(kindOf(new TypeError('Do not know how to serialize a BigInt'))).toBe('refusal');
    expect(kindOf(undefined)).toBe('refusal');
    expect(kindOf(new Error('no answer within 5000 ms'))).toBe('outage');
  });

  it('ends where an error is its own cause', () => {
    const error = new Error('upstream failed');
    error.cause = new Error('reset', { cause: error });
    expect(kindOf(error)).toBe('refusal');
  });
});

describe('retryingConflicts', () => {
  const failing = (times: number, error: Error) => {
    let calls = 0;
    const work = () => (++calls <= times ? Promise.reject(error) : Promise.resolve('done'));
    return { work, calls: () => calls };
  };

  it.each([
    ['a deadlock', withCode('40P01')],
    ['a serialization failure', withCode('40001')],
    ['MySQL’s deadlock', withErrno(1213)],
    ['a deadlock that TypeORM wrapped', new QueryFailedError('UPDATE', [], withErrno(1213))],
    ['a deadlock that something else came of', new Error('rolled back', { cause: withCode('40P01') })],
  ])('tries again after %s', async (_, error) => {
    const { work, calls } = failing(3, error);
    expect(await retryingConflicts(work)).toBe('done');
    expect(calls()).toBe(4);
  });

  it('gives up after a few', async () => {
    const error = withCode('40P01');
    const { work, calls } = failing(100, error);
    await expect(retryingConflicts(work)).rejects.toBe(error);
    expect(calls()).toBe(6);
  });

  it('gives up sooner where each try takes long', async () => {
    const error = withCode('40P01');
    const { work, calls } = failing(100, error);
    let now = 0;
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now);
    await expect(retryingConflicts(() => ((now += 600), work()))).rejects.toBe(error);
    clock.mockRestore();
    expect(calls()).toBe(2);
  });

  it('leaves other errors alone', async () => {
    const error = withCode('ECONNRESET');
    const { work, calls } = failing(1, error);
    await expect(retryingConflicts(work)).rejects.toBe(error);
    expect(calls()).toBe(1);
  });
});

describe('says', () => {
  it.each([
    ['locked', ['55P03', 1205, 3572]],
    ['undone', ['40001', '40P01', 1213, 1020, 3101, 'SQLITE_BUSY']],
    ['endsTransaction', [1213, 1020, 1206, 3101]],
    ['tooManyConnections', ['53300', 1040, 1203, 1226]],
  ] as const)('knows by the table of each driver what is %s', (what, codes) => {
    const all = [
      '55P03',
      1205,
      3572,
      '40001',
      '40P01',
      1213,
      1020,
      3101,
      'SQLITE_BUSY',
      1206,
      '53300',
      1040,
      1203,
      1226,
    ];
    const errorOf = (code: string | number) => (typeof code === 'number' ? withErrno(code) : withCode(code));
    expect(all.filter((code) => says(errorOf(code), what))).toEqual(
      all.filter((code) => codes.includes(code as never)),
    );
    expect(says(new Error('wrapped', { cause: errorOf(codes[0]) }), what)).toBe(true);
    expect(says(new Error('no code'), what)).toBe(false);
  });
});

describe('closedConnection', () => {
  it.each<[unknown, boolean]>([
    [withCode('ECONNRESET'), true],
    [withCode('EPIPE'), true],
    [withCode('PROTOCOL_CONNECTION_LOST'), true],
    [new Error('Connection terminated unexpectedly'), true],
    [new StoreUnavailableError({ cause: new QueryFailedError('UPDATE', [], withCode('ECONNRESET')) }), true],
    [withCode('ECONNREFUSED'), false],
    [withCode('57P01'), false],
    [new Error('the server says: Connection terminated'), false],
    [undefined, false],
  ])('of %s: %s', (error, expected) => {
    expect(closedConnection(error)).toBe(expected);
  });
});

describe('lacksSavepoint', () => {
  it.each<[unknown, boolean]>([
    [withCode('3B001'), true],
    [withErrno(1305), true],
    [new QueryFailedError('RELEASE', [], new Error('no such savepoint: typeorm_1')), true],
    [withCode('25P02'), false],
    [withErrno(1213), false],
    [new Error('there is no such savepoint'), false],
  ])('of %s: %s', (error, expected) => {
    expect(lacksSavepoint(error)).toBe(expected);
  });
});

describe('reasonOf', () => {
  it.each<[unknown, string]>([
    [new StoreUnavailableError({ cause: withCode('57P01') }), 'x (57P01)'],
    [withErrno(1213), 'x (1213)'],
    [new Error('SQLITE_BUSY: locked'), 'SQLITE_BUSY: locked'],
    [Object.assign(new Error('SQLITE_BUSY: locked'), { code: 'SQLITE_BUSY' }), 'SQLITE_BUSY: locked'],
    [new Error('one\nof two lines'), 'one'],
    [new RangeError(''), 'RangeError'],
    ['out of stock', 'out of stock'],
    [{ status: 500 }, 'unknown error'],
    [undefined, 'unknown error'],
  ])('of %s: %s', (error, expected) => {
    expect(reasonOf(error)).toBe(expected);
  });
});
