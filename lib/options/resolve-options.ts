import { type DataSource, InstanceChecker } from 'typeorm';
import { LONGEST_RETENTION_MS, LONGEST_TIMER_MS } from '../engine/policy.js';
import { assertRedisNodes } from '../lock/redis-client.js';
import { REDLOCK_DEFAULTS, resolveRedlockSettings } from '../lock/redlock-settings.js';
import * as check from './checks.js';
import type { IdempotencyModuleOptions, IdempotentOptions } from './idempotency-options.js';
import { OUTCOME_PRESETS } from './outcome-presets.js';
import type { ResolvedModuleOptions, ResolvedOperationOptions } from './resolved-options.js';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;
const KIB = 1_024;
/** The largest number of an integer column. */
const MOST_ATTEMPTS = 2 ** 31 - 1;

/** Options of `@Idempotent()` whose defaults `forRoot()` sets. */
const DEFAULT_OPTIONS = [
  'required',
  'key',
  'scope',
  'fingerprint',
  'onConflict',
  'waitTimeout',
  'lease',
  'retention',
  'afterCrash',
  'maxAttempts',
  'maxDuration',
  'transactional',
  'outcome',
  'request',
  'response',
] as const satisfies readonly (keyof IdempotentOptions)[];

/** Options that name the operation of one handler. */
const NAMING_OPTIONS = ['operation', 'shared'] as const satisfies readonly (keyof IdempotentOptions)[];

/** The options of `@Idempotent()`. */
export const OPERATION_OPTIONS = [...DEFAULT_OPTIONS, ...NAMING_OPTIONS, 'audit'] as const;

/** The options of `IdempotencyModule.forRoot()`. */
export const MODULE_OPTIONS = [
  ...DEFAULT_OPTIONS,
  'dataSource',
  'namespace',
  'redis',
  'redlock',
  'onLockUnavailable',
  'header',
  'credentials',
  'keyFormat',
  'encryption',
  'sweep',
  'audit',
  'documentation',
  'storeTimeout',
  'storeConnections',
  'transactionHost',
] as const satisfies readonly (keyof IdempotencyModuleOptions)[];

/** @throws IdempotencyOptionError naming the option */
export function resolveOperationOptions(options: IdempotentOptions): ResolvedOperationOptions {
  const { response = {} } = options;
  check.checkNames(response, ['maxBytes', 'headers', 'store', 'redact', 'stream'], 'response.');
  check.checkNames(response.headers ?? {}, ['include', 'exclude'], 'response.headers.');
  return {
    policy: {
      leaseMs: check.duration('lease', options.lease, 30 * SECOND_MS, LONGEST_TIMER_MS),
      retentionMs: check.duration('retention', options.retention, 24 * HOUR_MS, LONGEST_RETENTION_MS),
      onConflict: check.oneOf('onConflict', options.onConflict, ['reject', 'wait'], 'reject'),
      waitTimeoutMs: check.duration('waitTimeout', options.waitTimeout, 10 * SECOND_MS, LONGEST_TIMER_MS),
      afterCrash: check.oneOf('afterCrash', options.afterCrash, ['rerun', 'hold'], 'rerun'),
      maxAttempts: check.integer('maxAttempts', options.maxAttempts, 5, { most: MOST_ATTEMPTS }),
      maxDurationMs:
        options.maxDuration === undefined
          ? undefined
          : check.duration('maxDuration', options.maxDuration, 0, LONGEST_TIMER_MS),
      transactional: check.oneOf('transactional', options.transactional, [true, false], false),
    },
    operation: operationName(options),
    shared: check.oneOf('shared', options.shared, [true, false], false),
    isAudited: check.oneOf<'off' | undefined>('audit', options.audit, ['off'], undefined) === undefined,
    required: check.oneOf('required', options.required, [true, false], true),
    key: check.functionOr('key', options.key),
    scope: check.functionOr('scope', options.scope),
    fingerprint: resolveFingerprint(options.fingerprint),
    outcome: resolveOutcome(options.outcome),
    request: resolveRequest(options.request),
    response: {
      store: check.oneOf('response.store', response.store, [true, false], true),
      redact: check.jsonPointers('response.redact', response.redact, { query: false }),
      maxBytes: check.integer('response.maxBytes', response.maxBytes, KIB * KIB),
      stream: check.oneOf<boolean | undefined>('response.stream', response.stream, [true, false], undefined),
      include:
        response.headers?.include && new Set(check.headerNames('response.headers.include', response.headers.include)),
      exclude: new Set(check.headerNames('response.headers.exclude', response.headers?.exclude)),
    },
  };
}

/** @throws IdempotencyOptionError naming the option */
export function resolveModuleOptions(options: IdempotencyModuleOptions): ResolvedModuleOptions {
  checkNoName(options);
  check.checkNames(options, MODULE_OPTIONS);
  const defaults = Object.fromEntries(DEFAULT_OPTIONS.map((name) => [name, options[name]])) as IdempotentOptions;
  resolveOperationOptions(defaults);
  return {
    defaults,
    dataSource: dataSourceOrName(options.dataSource),
    namespace: namespaceOf(options.namespace),
    redis: options.redis === undefined ? [] : assertRedisNodes(options.redis),
    redlock: resolveRedlock(options.redlock),
    onLockUnavailable: check.oneOf('onLockUnavailable', options.onLockUnavailable, ['degrade', 'reject'], 'degrade'),
    header: check.headerName('header', options.header ?? 'Idempotency-Key'),
    credentials: resolveCredentials(options.credentials),
    keyFormat: resolveKeyFormat(options.keyFormat),
    encryption: resolveEncryption(options.encryption),
    sweep: resolveSweep(options.sweep),
    audit: check.oneOf('audit', options.audit, ['off', 'warn', 'error'], 'warn'),
    documentation: resolveDocumentation(options.documentation),
    storeTimeoutMs: check.duration('storeTimeout', options.storeTimeout, 5 * SECOND_MS, LONGEST_TIMER_MS),
    storeConnections: check.integer('storeConnections', options.storeConnections, 4, { least: 0 }),
    transactionHost: resolveTransactionHost(options.transactionHost),
  };
}

/** @throws IdempotencyOptionError for anything else, such as the options of a TypeORM data source */
export function dataSourceOrName(value: unknown): string | DataSource | undefined {
  if (value === undefined || typeof value === 'string' || InstanceChecker.isDataSource(value)) return value;
  check.refuse('dataSource', 'must be a DataSource, or the `name` that TypeOrmModule.forRoot() has, as text');
}

function namespaceOf(name: unknown): string | undefined {
  if (name === undefined || (typeof name === 'string' && name !== '')) return name;
  check.refuse('namespace', `must be a name that is not empty, not ${check.show(name)}`);
}

/** Control characters and half surrogate pairs: one database refuses them, and another shows a different name. */
const NOT_IN_A_NAME = /[\p{Cc}\p{Surrogate}]/u;

/** The length of the column `endpoint`, in characters. */
const LONGEST_NAME = 255;

function operationName({ operation, shared }: IdempotentOptions): string | undefined {
  if (operation === undefined) {
    if (shared) check.refuse('shared', 'goes with `operation`, the name that is shared');
    return undefined;
  }
  if (typeof operation !== 'string' || operation.trim() === '' || operation.length > LONGEST_NAME) {
    check.refuse('operation', `must be a name of 1 to ${LONGEST_NAME} characters, not ${check.show(operation)}`);
  }
  if (NOT_IN_A_NAME.test(operation)) {
    check.refuse(
      'operation',
      `must have no control characters and no half surrogate pairs, as ${check.show(operation)} has`,
    );
  }
  return operation;
}

/** Refuses a name on a class or module: several handlers would share their records. */
export function checkNoName(options: Omit<IdempotentOptions, 'audit'>): void {
  const naming = NAMING_OPTIONS.find((name) => options?.[name] !== undefined);
  if (naming) check.refuse(naming, 'names the operation of one handler: it belongs in the @Idempotent() of a method');
}

/** Refuses unknown options, and those of the module. */
export function checkOperationOptionNames(options: IdempotentOptions): void {
  const isOfOperation = (name: string) => (OPERATION_OPTIONS as readonly string[]).includes(name);
  const misplaced = MODULE_OPTIONS.find((name) => !isOfOperation(name) && Object.hasOwn(options ?? {}, name));
  if (misplaced) check.refuse(misplaced, 'belongs in IdempotencyModule.forRoot()');
  check.checkNames(options, OPERATION_OPTIONS);
}

function resolveFingerprint(value: IdempotentOptions['fingerprint']): ResolvedOperationOptions['fingerprint'] {
  if (value === undefined) return {};
  if (value === false || typeof value === 'function') return value;
  if (typeof value !== 'object' || value === null) {
    check.refuse('fingerprint', `must be an object, a function or false, not ${check.show(value)}`);
  }
  check.checkNames(value, ['ignore', 'headers', 'only'], 'fingerprint.');
  if (Array.isArray(value.only) && value.only.length === 0) {
    check.refuse('fingerprint.only', 'must not be empty: `fingerprint: false` compares nothing');
  }
  return {
    ignore: check.jsonPointers('fingerprint.ignore', value.ignore, { query: true }),
    only: check.jsonPointers('fingerprint.only', value.only, { query: true }),
    headers: check.headerNames('fingerprint.headers', value.headers),
  };
}

function resolveOutcome(outcome: IdempotentOptions['outcome'] = 'final'): ResolvedOperationOptions['outcome'] {
  if (typeof outcome === 'function') return outcome;
  if (Object.hasOwn(OUTCOME_PRESETS, outcome)) return OUTCOME_PRESETS[outcome];
  check.refuse('outcome', `must be 'final', 'success' or a function, not ${check.show(outcome)}`);
}

function resolveRedlock(redlock: IdempotencyModuleOptions['redlock'] = {}): ResolvedModuleOptions['redlock'] {
  check.checkNames(redlock, Object.keys(REDLOCK_DEFAULTS), 'redlock.');
  return resolveRedlockSettings(redlock);
}

/** Sorts the names: another order in the options must not change the binding of records. */
function resolveCredentials(credentials: IdempotencyModuleOptions['credentials'] = {}) {
  check.checkNames(credentials, ['headers', 'cookies'], 'credentials.');
  const { headers: named = ['Authorization', 'X-API-Key'] } = credentials;
  const headers = check.headerNames('credentials.headers', named);
  if (headers.includes('cookie')) {
    check.refuse('credentials.headers', 'must not name Cookie: name yours in `credentials.cookies`');
  }
  const cookies = check.cookieNames('credentials.cookies', credentials.cookies);
  return { headers: [...new Set(headers)].sort(), cookies: [...new Set(cookies)].sort() };
}

function resolveKeyFormat(format: IdempotencyModuleOptions['keyFormat'] = {}): ResolvedModuleOptions['keyFormat'] {
  check.checkNames(format, ['minLength', 'maxLength', 'pattern'], 'keyFormat.');
  const minLength = check.integer('keyFormat.minLength', format.minLength, 1);
  const maxLength = check.integer('keyFormat.maxLength', format.maxLength, 255);
  if (minLength > maxLength) check.refuse('keyFormat.minLength', 'must not be above `maxLength`');
  const { pattern = /^[\x21-\x7e]+$/ } = format;
  if (!(pattern instanceof RegExp) || pattern.global || pattern.sticky) {
    check.refuse('keyFormat.pattern', 'must be a regular expression without the flags g and y');
  }
  return { minLength, maxLength, pattern };
}

function resolveRequest(request: IdempotentOptions['request'] = {}): ResolvedOperationOptions['request'] {
  check.checkNames(request, ['store', 'maxBytes', 'redact'], 'request.');
  return {
    store: check.oneOf('request.store', request.store, [true, false], true),
    maxBytes: check.integer('request.maxBytes', request.maxBytes, 64 * KIB),
    redact: check.jsonPointers('request.redact', request.redact, { query: true }),
  };
}

function resolveEncryption(encryption: IdempotencyModuleOptions['encryption']): ResolvedModuleOptions['encryption'] {
  if (encryption === undefined) return undefined;
  check.checkNames(encryption, ['keys', 'current'], 'encryption.');
  for (const [id, key] of Object.entries(encryption.keys ?? {})) {
    if (id.length === 0 || Buffer.byteLength(id) > 255) {
      check.refuse('encryption.keys', 'must have ids of 1 to 255 bytes');
    }
    if (!(key instanceof Uint8Array) || key.length !== 32) {
      const has = key instanceof Uint8Array ? `${key.length} bytes` : `a ${typeof key}`;
      check.refuse(
        `encryption.keys.${id}`,
        `must be a Buffer of 32 bytes (AES-256), not ${has}: \`openssl rand -base64 32\` makes one, Buffer.from(text, 'base64') reads it`,
      );
    }
  }
  if (!Object.hasOwn(encryption.keys ?? {}, encryption.current)) {
    check.refuse('encryption.current', 'must be the id of one of `encryption.keys`');
  }
  return encryption;
}

function resolveSweep(sweep: IdempotencyModuleOptions['sweep'] = {}): ResolvedModuleOptions['sweep'] {
  if (sweep === false) return undefined;
  if (typeof sweep !== 'object' || sweep === null) {
    check.refuse('sweep', `must be an object or false, not ${check.show(sweep)}`);
  }
  check.checkNames(sweep, ['every', 'batch'], 'sweep.');
  return {
    everyMs: check.duration('sweep.every', sweep.every, 60 * SECOND_MS, LONGEST_TIMER_MS),
    batch: check.integer('sweep.batch', sweep.batch, 1_000),
  };
}

function resolveDocumentation(url: IdempotencyModuleOptions['documentation']): string | undefined {
  if (url === undefined || URL.canParse(url)) return url;
  check.refuse('documentation', `must be an absolute URL, not ${check.show(url)}`);
}

function resolveTransactionHost(
  host: IdempotencyModuleOptions['transactionHost'],
): ResolvedModuleOptions['transactionHost'] {
  if (host === undefined || typeof host?.run === 'function') return host;
  check.refuse('transactionHost', 'must have a method `run`');
}
