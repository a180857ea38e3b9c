import { type DataSource, InstanceChecker } from 'typeorm';
import { MAX_RETENTION_MS, MAX_TIMER_MS, type Policy } from '../engine/policy.js';
import { faultOfRedis, type RedisLike } from '../lock/redis-client.js';
import { REDLOCK_DEFAULTS } from '../lock/redlock-settings.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { TransactionHost } from '../store/transactions/transaction-host.js';
import * as check from './checks.js';
import type {
  IdempotencyModuleOptions,
  IdempotentOptions,
  OutcomeContext,
  OutcomeVerdict,
} from './idempotency-options.js';
import { OUTCOME_PRESETS } from './outcome-presets.js';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600 * SECOND_MS;
const KIB = 1_024;
/** The largest number of an integer column. */
const MAX_ATTEMPTS = 2 ** 31 - 1;

/** Options that name the operation of one handler. */
const NAMING_OPTIONS = ['operation', 'shared'] as const;

/** Options of `@Idempotent()` whose defaults `forRoot()` sets. */
type Default = Exclude<keyof IdempotentOptions, (typeof NAMING_OPTIONS)[number] | 'audit'>;

const POINTERS = check.jsonPointers({ query: true });

const DEFAULTS = {
  required: check.flag(true),
  key: check.functionOr<IdempotentOptions['key']>(undefined),
  scope: check.functionOr<IdempotentOptions['scope']>(undefined),
  fingerprint,
  onConflict: check.oneOf(['reject', 'wait'], 'reject'),
  waitTimeout: check.duration(10 * SECOND_MS, MAX_TIMER_MS),
  lease: check.duration(30 * SECOND_MS, MAX_TIMER_MS),
  retention: check.duration(24 * HOUR_MS, MAX_RETENTION_MS),
  afterCrash: check.oneOf(['rerun', 'hold'], 'rerun'),
  maxAttempts: check.integer(5, { max: MAX_ATTEMPTS }),
  maxDuration: check.duration(undefined, MAX_TIMER_MS),
  transactional: check.flag(false),
  outcome,
  request: check.members({ store: check.flag(true), maxBytes: check.integer(64 * KIB), redact: POINTERS }),
  response: check.members({
    maxBytes: check.integer(KIB * KIB),
    headers: check.members({
      include: (value, option) => (value === undefined ? undefined : new Set(check.headerNames(value, option))),
      exclude: (value, option) => new Set(check.headerNames(value, option)),
    }),
    store: check.flag(true),
    redact: check.jsonPointers({ query: false }),
    // `undefined`: the response decides.
    stream: check.oneOf([true, false], undefined),
  }),
} satisfies Record<Default, check.Reader<unknown>>;

const OPERATION = { ...DEFAULTS, operation, shared: check.flag(false), audit: check.oneOf(['off'], undefined) };

const REDLOCK = {
  prefix: check.fitting('a string', (prefix) => typeof prefix === 'string', REDLOCK_DEFAULTS.prefix),
  attemptTimeout: milliseconds(1, REDLOCK_DEFAULTS.attemptTimeout),
  minValidity: milliseconds(0, REDLOCK_DEFAULTS.minValidity),
  driftFactor: check.fitting(
    'a number from 0 to less than 1',
    (share) => isAtLeast(0)(share) && (share as number) < 1,
    REDLOCK_DEFAULTS.driftFactor,
  ),
  retryAfter: milliseconds(1, REDLOCK_DEFAULTS.retryAfter),
};

const MODULE = {
  dataSource: dataSourceOrName,
  namespace: check.fitting<string | undefined>('a name that is not empty', isName, undefined),
  redis,
  redlock: check.members(REDLOCK),
  onLockUnavailable: check.oneOf(['degrade', 'reject'], 'degrade'),
  header: (value, option) => check.headerName(value ?? 'Idempotency-Key', option),
  credentials,
  keyFormat,
  encryption,
  sweep,
  audit: check.oneOf(['off', 'warn', 'error'], 'warn'),
  documentation,
  storeTimeout: check.duration(5 * SECOND_MS, MAX_TIMER_MS),
  storeConnections: check.integer(4, { min: 0 }),
  transactionHost,
} satisfies Record<Exclude<keyof IdempotencyModuleOptions, Default>, check.Reader<unknown>>;

/** The options of `@Idempotent()`. */
export const OPERATION_OPTIONS: readonly string[] = Object.keys(OPERATION);

/** The options of `IdempotencyModule.forRoot()`. */
export const MODULE_OPTIONS: readonly string[] = [...Object.keys(DEFAULTS), ...Object.keys(MODULE)];

/**
 * Returns the options of one operation with their defaults.
 *
 * @throws IdempotencyOptionError naming the option
 */
export function resolveOperationOptions(options: IdempotentOptions) {
  // No rest properties: IdempotencyService.run() resolves options at each call, and they take ten times as long.
  const resolved = check.read(OPERATION, options);
  const { required, key, scope, fingerprint, outcome, request, response, operation, shared, audit } = resolved;
  if (shared && operation === undefined) check.refuse('shared', 'goes with `operation`, the name that is shared');
  const policy: Policy = {
    leaseMs: resolved.lease,
    retentionMs: resolved.retention,
    onConflict: resolved.onConflict,
    waitTimeoutMs: resolved.waitTimeout,
    afterCrash: resolved.afterCrash,
    maxAttempts: resolved.maxAttempts,
    maxDurationMs: resolved.maxDuration,
    transactional: resolved.transactional,
  };
  const { store, redact, maxBytes, stream, headers } = response;
  return {
    policy,
    operation,
    shared,
    isAudited: audit === undefined,
    required,
    key,
    scope,
    fingerprint,
    outcome,
    request,
    response: { store, redact, maxBytes, stream, include: headers.include, exclude: headers.exclude },
  };
}

/**
 * Returns the options of the module with their defaults. `defaults` are those of `@Idempotent()`.
 *
 * @throws IdempotencyOptionError naming the option
 */
export function resolveModuleOptions(options: IdempotencyModuleOptions) {
  checkNoName(options);
  check.checkNames(options, MODULE_OPTIONS);
  const names = Object.keys(DEFAULTS) as Default[];
  const defaults = Object.fromEntries(names.map((name) => [name, options[name]])) as IdempotentOptions;
  resolveOperationOptions(defaults);
  const { storeTimeout: storeTimeoutMs, ...module } = check.read(MODULE, options);
  return { defaults, storeTimeoutMs, ...module };
}

/** Refuses a name on a class or module: several handlers would share their records. */
export function checkNoName(options: Omit<IdempotentOptions, 'audit'>): void {
  const naming = NAMING_OPTIONS.find((name) => options?.[name] !== undefined);
  if (naming) check.refuse(naming, 'names the operation of one handler: it belongs in the @Idempotent() of a method');
}

/** Refuses unknown options, and those of the module. */
export function checkOperationOptionNames(options: IdempotentOptions): void {
  const misplaced = MODULE_OPTIONS.find((name) => !(name in OPERATION) && Object.hasOwn(options ?? {}, name));
  if (misplaced) check.refuse(misplaced, 'belongs in IdempotencyModule.forRoot()');
  check.checkNames(options, OPERATION_OPTIONS);
}

/** @throws IdempotencyOptionError for anything else, such as the options of a TypeORM data source */
export function dataSourceOrName(value: unknown): string | DataSource | undefined {
  if (value === undefined || typeof value === 'string' || InstanceChecker.isDataSource(value)) return value;
  check.refuse('dataSource', 'must be a DataSource, or the `name` that TypeOrmModule.forRoot() has, as text');
}

const absoluteUrl = check.fitting<string | undefined>(
  'an absolute URL',
  (url) => URL.canParse(url as string),
  undefined,
);

/** As headers carry it: with a character that they do not, each refusal would fail with a 500. */
function documentation(value: unknown, option: string): string | undefined {
  const url = absoluteUrl(value, option);
  return url === undefined ? undefined : new URL(url).href;
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

/** Control characters and half surrogate pairs: one database refuses them, and another shows a different name. */
const NOT_IN_A_NAME = /[\p{Cc}\p{Surrogate}]/u;

/** The length of the column `endpoint`, in characters. */
const MAX_NAME_LENGTH = 255;

function operation(name: unknown, option: string): string | undefined {
  if (name === undefined) return undefined;
  if (typeof name !== 'string' || name.trim() === '' || name.length > MAX_NAME_LENGTH) {
    check.refuse(option, `must be a name of 1 to ${MAX_NAME_LENGTH} characters, not ${check.show(name)}`);
  }
  if (!NOT_IN_A_NAME.test(name)) return name;
  check.refuse(option, `must have no control characters and no half surrogate pairs, as ${check.show(name)} has`);
}

type Fingerprint = NonNullable<IdempotentOptions['fingerprint']>;

function fingerprint(value: unknown, option: string): Fingerprint {
  if (value === undefined) return {};
  if (value === false || typeof value === 'function') return value as Fingerprint;
  if (typeof value !== 'object' || value === null) {
    check.refuse(option, `must be an object, a function or false, not ${check.show(value)}`);
  }
  return check.members({ ignore: POINTERS, headers: check.headerNames, only })(value, option);
}

function only(value: unknown, option: string): readonly string[] {
  const pointers = POINTERS(value, option);
  if (value === undefined || pointers.length > 0) return pointers;
  check.refuse(option, 'must not be empty: `fingerprint: false` compares nothing');
}

type Outcome = (context: OutcomeContext) => OutcomeVerdict;

function outcome(value: unknown = 'final', option: string): Outcome {
  if (typeof value === 'function') return value as Outcome;
  if (Object.hasOwn(OUTCOME_PRESETS, value as string)) return OUTCOME_PRESETS[value as keyof typeof OUTCOME_PRESETS];
  check.refuse(option, `must be 'final', 'success' or a function, not ${check.show(value)}`);
}

function milliseconds(min: number, fallback: number): check.Reader<number> {
  return check.fitting(`a number of milliseconds, at least ${min}`, isAtLeast(min), fallback);
}

function isAtLeast(min: number): (value: unknown) => boolean {
  return (value) => Number.isFinite(value) && (value as number) >= min;
}

function redis(value: unknown, option: string): readonly RedisLike[] {
  if (value === undefined) return [];
  const fault = faultOfRedis(value);
  if (fault !== undefined) check.refuse(option, fault);
  return [value].flat() as RedisLike[];
}

/** Sorts the names: another order in the options must not change the binding of records. */
function credentials(value: unknown, option: string) {
  const { headers, cookies } = check.members({
    headers: (names = ['Authorization', 'X-API-Key'], of: string) => check.headerNames(names, of),
    cookies: check.cookieNames,
  })(value, option);
  if (headers.includes('cookie')) {
    check.refuse(`${option}.headers`, 'must not name Cookie: name yours in `credentials.cookies`');
  }
  return { headers: [...new Set(headers)].sort(), cookies: [...new Set(cookies)].sort() };
}

function keyFormat(value: unknown, option: string) {
  const format = check.members({ minLength: check.integer(1), maxLength: check.integer(255), pattern })(value, option);
  if (format.minLength > format.maxLength) check.refuse(`${option}.minLength`, 'must not be above `maxLength`');
  return format;
}

function pattern(value: unknown, option: string): RegExp {
  if (value === undefined) return /^[\x21-\x7e]+$/;
  if (value instanceof RegExp && !value.global && !value.sticky) return value;
  check.refuse(option, 'must be a regular expression without the flags g and y');
}

function encryption(value: unknown, option: string): EncryptionOptions | undefined {
  if (value === undefined) return undefined;
  check.checkNames(value as object, ['keys', 'current'], option);
  const { keys, current } = value as EncryptionOptions;
  for (const [id, key] of Object.entries<unknown>(keys ?? {})) {
    if (id.length === 0 || Buffer.byteLength(id) > 255)
      check.refuse(`${option}.keys`, 'must have ids of 1 to 255 bytes');
    if (key instanceof Uint8Array && key.length === 32) continue;
    const has = key instanceof Uint8Array ? `${key.length} bytes` : `a ${typeof key}`;
    check.refuse(
      `${option}.keys.${id}`,
      `must be a Buffer of 32 bytes (AES-256), not ${has}: \`openssl rand -base64 32\` makes one, Buffer.from(text, 'base64') reads it`,
    );
  }
  // Not a number, as a YAML file has it.
  if (typeof current === 'string' && Object.hasOwn(keys ?? {}, current)) return value as EncryptionOptions;
  check.refuse(`${option}.current`, 'must be the id of one of `encryption.keys`, as text');
}

function sweep(value: unknown, option: string) {
  if (value === false) return undefined;
  if (value !== undefined && (typeof value !== 'object' || value === null)) {
    check.refuse(option, `must be an object or false, not ${check.show(value)}`);
  }
  const { every, batch } = check.members({
    every: check.duration(60 * SECOND_MS, MAX_TIMER_MS),
    batch: check.integer(1_000),
  })(value, option);
  return { everyMs: every, batch };
}

function transactionHost(value: unknown, option: string): TransactionHost | undefined {
  const host = value as TransactionHost | undefined;
  if (host === undefined || typeof host?.run === 'function') return host;
  check.refuse(option, 'must have a method `run`');
}
