import { randomBytes } from 'node:crypto';
import { ConflictException, HttpException } from '@nestjs/common';
import { Redis } from 'ioredis';
import {
  type IdempotentOptions,
  Idempotent,
  IdempotencyModule,
  IdempotencyOptionError,
  type OutcomeContext,
} from '../../../lib/index.js';
import { toMilliseconds } from '../../../lib/options/duration.js';
import { resolveModuleOptions, resolveOperationOptions } from '../../../lib/options/resolve-options.js';

const client = () => new Redis({ lazyConnect: true });

const bad: [name: string, options: object, problem: RegExp][] = [
  ['lease', { lease: '30 seconds' }, /must be milliseconds above zero or text such as '30s'/],
  ['lease', { lease: 0 }, /not 0/],
  ['lease', { lease: -1 }, /not -1/],
  ['lease', { lease: Number.NaN }, /must be milliseconds/],
  ['lease', { lease: '60d' }, /at most 2147483647 ms/],
  ['retention', { retention: 'forever' }, /not "forever"/],
  ['waitTimeout', { waitTimeout: true }, /not true/],
  ['onConflict', { onConflict: 'queue' }, /must be 'reject' or 'wait', not "queue"/],
  ['afterCrash', { afterCrash: 'retry' }, /must be 'rerun' or 'hold'/],
  ['transactional', { transactional: 'yes' }, /must be true or false/],
  ['required', { required: 1 }, /must be true or false/],
  ['key', { key: 'header' }, /must be a function/],
  ['scope', { scope: 'tenant' }, /must be a function/],
  ['outcome', { outcome: 'store' }, /must be 'final', 'success' or a function, not "store"/],
  ['fingerprint', { fingerprint: true }, /must be an object, a function or false/],
  ['fingerprint.ignore', { fingerprint: { ignore: ['client.sentAt'] } }, /JSON pointers/],
  ['fingerprint.header', { fingerprint: { header: ['X-Tenant'] } }, /does not exist; there are ignore, headers/],
  ['fingerprint.headers', { fingerprint: { headers: ['X Tenant'] } }, /name of a header/],
  ['response.maxBytes', { response: { maxBytes: '1mb' } }, /whole number above zero/],
  ['response.headers.exclude', { response: { headers: { exclude: 'X-Trace' } } }, /array of strings/],
  ['response.headers', { response: { headers: ['Location'] } }, /must be an object of include, exclude/],
  ['response.headers.add', { response: { headers: { add: ['Location'] } } }, /there are include, exclude/],
  ['response', { response: null }, /must be an object of maxBytes, headers/],
  ['response.maxSize', { response: { maxSize: 1 } }, /does not exist/],
];

const badModule: typeof bad = [
  ...bad,
  ['retentoin', { retentoin: '1d' }, /does not exist; there are required, key/],
  ['header', { header: 'Idempotency Key' }, /name of a header/],
  ['keyFormat.minLength', { keyFormat: { minLength: 10, maxLength: 5 } }, /must not be above/],
  ['keyFormat.pattern', { keyFormat: { pattern: /a/g } }, /without the flags/],
  ['request.redact', { request: { redact: ['card.number'] } }, /JSON pointers such as/],
  ['request.maxBytes', { request: { maxBytes: 0 } }, /above zero/],
  ['sweep', { sweep: true }, /object or false/],
  ['sweep.every', { sweep: { every: '0s' } }, /must be milliseconds/],
  ['sweep.batch', { sweep: { batch: 1.5 } }, /whole number/],
  ['audit', { audit: 'on' }, /must be 'off' or 'warn' or 'error'/],
  ['onLockUnavailable', { onLockUnavailable: 'ignore' }, /must be 'degrade' or 'reject'/],
  ['documentation', { documentation: '/docs' }, /absolute URL/],
  ['storeTimeout', { storeTimeout: '-5s' }, /must be milliseconds/],
  ['isGlobal', { isGlobal: 'false' }, /must be true or false, not "false"/],
  ['storeConnections', { storeConnections: -1 }, /whole number from zero on, not -1/],
  ['transactionHost', { transactionHost: {} }, /method `run`/],
  ['redlock.retryCount', { redlock: { retryCount: 3 } }, /does not exist; there are prefix, attemptTimeout/],
  ['redlock.attemptTimeout', { redlock: { attemptTimeout: '1s' } }, /must be a number of milliseconds/],
  ['redlock.attemptTimeout', { redlock: { attemptTimeout: 0 } }, /milliseconds, at least 1, not 0/],
  ['redlock.prefix', { redlock: { prefix: 1 } }, /must be a string/],
  ['redlock.minValidity', { redlock: { minValidity: -1 } }, /milliseconds, at least 0/],
  ['redlock.driftFactor', { redlock: { driftFactor: 1 } }, /must be a number from 0 to less than 1/],
  ['redlock.retryAfter', { redlock: { retryAfter: Number.NaN } }, /milliseconds, at least 1/],
  [
    'dataSource',
    { dataSource: { name: 'main' } },
    /must be a DataSource, or the `name` that TypeOrmModule.forRoot\(\) has/,
  ],
  ['redis', { redis: 'redis://localhost' }, /is not an ioredis client.*`new Redis\(url\)` makes one/],
  ['redis', { redis: [{ host: 'localhost' }] }, /something at index 0 .*`new Redis\(url\)` makes one/],
  ['encryption', { encryption: randomBytes(32) }, /must be an object of keys, current$/],
  ['encryption.current', { encryption: { keys: {}, current: 'a' } }, /id of one of/],
  // The first request failed, and its retry waited forever.
  ['encryption.current', { encryption: { keys: { 2026: randomBytes(32) }, current: 2026 as never } }, /id of one of/],
  [
    'encryption.keys.a',
    { encryption: { keys: { a: randomBytes(16) }, current: 'a' } },
    /32 bytes \(AES-256\), not 16 bytes/,
  ],
  ['encryption.keys.a', { encryption: { keys: { a: 'secret' }, current: 'a' } }, /not a string/],
];

test.each(bad)('@Idempotent() refuses %s: %o', (name, options, problem) => {
  expect(() => Idempotent(options)).toThrow(problem);
  expect(() => Idempotent(options)).toThrow(`option \`${name}\``);
});

test.each(badModule)('forRoot() refuses %s: %o', (name, options, problem) => {
  expect(() => IdempotencyModule.forRoot(options)).toThrow(problem);
  expect(() => IdempotencyModule.forRoot(options)).toThrow(`IdempotencyModule: option \`${name}\``);
});

test.each([2, 4])('forRoot() refuses %i Redis nodes', (count) => {
  const redis = Array.from({ length: count }, client);
  expect(() => IdempotencyModule.forRoot({ redis })).toThrow(/option `redis`.*odd number/s);
  expect(() => IdempotencyModule.forRoot({ redis })).toThrow(IdempotencyOptionError);
});

// Node refuses headers with such characters: each refusal was a 500.
test.each([
  ['https://shop.example/文档', 'https://shop.example/%E6%96%87%E6%A1%A3'],
  ['https://shop.example/docs/keys\n', 'https://shop.example/docs/keys'],
])('forRoot() takes a documentation of %j', (documentation, href) => {
  expect(resolveModuleOptions({ documentation }).documentation).toBe(href);
});

test('@Idempotent() distinguishes options that belong to the module from ones that do not exist', () => {
  expect(() => Idempotent({ sweep: false } as object)).toThrow(/belongs in IdempotencyModule.forRoot\(\)/);
  expect(() => Idempotent({ leese: 1 } as object)).toThrow(/does not exist/);
});

test('@Idempotent() takes an object', () => {
  expect(() => Idempotent('30s' as unknown as object)).toThrow(/option `options` must be an object of required, key/);
  expect(() => Idempotent(null as unknown as object)).toThrow(/option `options` must be an object/);
});

test('errors narrow', () => {
  const refused = () => IdempotencyModule.forRoot({ lease: 0 });
  expect(refused).toThrow(IdempotencyOptionError);
  expect(refused).toThrow(expect.objectContaining({ option: 'lease' }));
});

test('a handler can only leave the audit', () => {
  expect(resolveOperationOptions({}).isAudited).toBe(true);
  expect(resolveOperationOptions({ audit: 'off' }).isAudited).toBe(false);
  expect(() => resolveOperationOptions({ audit: 'error' as never })).toThrow("option `audit` must be 'off'");
});

test('defaults', () => {
  expect(resolveOperationOptions({})).toMatchObject({
    required: true,
    fingerprint: {},
    policy: {
      leaseMs: 30_000,
      retentionMs: 86_400_000,
      onConflict: 'reject',
      waitTimeoutMs: 10_000,
      afterCrash: 'rerun',
      transactional: false,
    },
    request: { store: true, maxBytes: 65_536, redact: [] },
    response: { store: true, maxBytes: 1_048_576, redact: [] },
  });
  expect(resolveModuleOptions({})).toMatchObject({
    header: 'Idempotency-Key',
    keyFormat: { minLength: 1, maxLength: 255 },
    sweep: { everyMs: 60_000, batch: 1_000 },
    audit: 'warn',
    onLockUnavailable: 'degrade',
    storeTimeoutMs: 5_000,
    redis: [],
  });
  expect(resolveModuleOptions({ sweep: false }).sweep).toBeUndefined();
  expect(resolveModuleOptions({ redlock: { prefix: undefined, retryAfter: 5 } }).redlock).toEqual({
    prefix: 'nestjs-idempotency:lock:',
    attemptTimeout: 100,
    minValidity: 50,
    driftFactor: 0.01,
    retryAfter: 5,
  });
});

describe('which outcomes are stored', () => {
  const FINAL = [200, 201, 204, 302, 400, 401, 403, 404, 409, 422];
  const NOT_NOW = [408, 425, 429, 500, 502, 503];
  const asked = (
    outcome: IdempotentOptions['outcome'],
    { status = 201, error, handlerFailed = error !== undefined }: Partial<OutcomeContext>,
  ) => resolveOperationOptions({ outcome }).outcome({ status, error, handlerFailed });

  test.each([[undefined], ['final']] as const)('%s: by the status', (outcome) => {
    for (const status of FINAL) expect(asked(outcome, { status })).toBe('store');
    for (const status of NOT_NOW) expect(asked(outcome, { status })).toBe('release');
  });

  test('final: a status that a filter wrote decides, whatever the handler threw', () => {
    expect(asked('final', { status: 409, error: new Error('sold out') })).toBe('store');
    expect(asked('final', { status: 502, error: new ConflictException() })).toBe('release');
  });

  test('final: what the handler threw decides, where it was made a success', () => {
    for (const status of [200, 201, 302]) {
      expect(asked('final', { status, error: new Error('down') })).toBe('release');
      expect(asked('final', { status, error: 'down' })).toBe('release');
      expect(asked('final', { status, error: undefined, handlerFailed: true })).toBe('release');
      for (const code of FINAL) expect(asked('final', { status, error: new HttpException('', code) })).toBe('store');
      for (const code of NOT_NOW)
        expect(asked('final', { status, error: new HttpException('', code) })).toBe('release');
    }
  });

  test('success: what succeeded alone', () => {
    for (const status of [200, 201, 204, 302]) expect(asked('success', { status })).toBe('store');
    for (const status of [400, 404, 409, 422, 500]) expect(asked('success', { status })).toBe('release');
    expect(asked('success', { status: 200, error: new ConflictException() })).toBe('release');
  });
});

test.each([
  ['250ms', 250],
  ['1.5s', 1_500],
  ['10m', 600_000],
  ['24h', 86_400_000],
  ['7d', 604_800_000],
  [42, 42],
  ['42', undefined],
  ['1 h', undefined],
  ['1w', undefined],
  ['', undefined],
  [Infinity, undefined],
  [undefined, undefined],
])('duration %p is %p ms', (duration, ms) => expect(toMilliseconds(duration)).toBe(ms));
