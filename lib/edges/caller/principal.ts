import type { IncomingHttpHeaders } from 'node:http';
import { types } from 'node:util';
import type { CredentialSources } from '../../options/resolved-options.js';
import { claimsOf } from './claims.js';

/** The parts of an Express or a Fastify request that identify its caller. */
export interface CallerRequest {
  readonly headers: IncomingHttpHeaders;
  readonly user?: unknown;
  /** The claims of a token, as express-jwt sets them, or a method that returns them. */
  readonly auth?: unknown;
}

/** The caller that a key belongs to. */
export interface Principal {
  /** Part of the record's identity: two principals may use the same key. An empty text is no principal. */
  readonly scope: string;
  /** Distinguishes callers without a principal. A secret, never stored. */
  readonly credential?: string;
}

/** The members of a user that may identify it. The first one that is set does. */
export const OF_USERS = ['id', 'sub', 'userId', 'uid', '_id', 'user_id'] as const;
/** The same for `request.auth`. Its `id` may be that of a token, and every retry with a refreshed token would run again. */
const OF_CLAIMS = ['sub', 'userId'] as const;

/** The number of members that an error lists. */
const MAX_NAMES = 20;

type Claims = Readonly<Record<string, unknown>>;

/**
 * Returns the authenticated principal: the first member of `request.user` that identifies a user, or the subject of `request.auth`,
 * with the issuer if there is one. Without a principal, returns the caller's credential. The record is bound to it, so that a caller
 * who has learnt the key gets no replay.
 *
 * @throws Error if `request.user` does not identify a user, because all users would share their keys
 */
export function principalOf(request: CallerRequest, credentials: CredentialSources, endpoint: string): Principal {
  // On Fastify, Nest's middleware sets members of node's own request.
  const { raw } = request as { readonly raw?: Pick<CallerRequest, 'user' | 'auth'> };
  const user = request.user ?? raw?.user;
  // Passport sets `false` when an optional guard lets an anonymous caller pass.
  if (user !== undefined && user !== null && user !== false) {
    const scope = scopeIn('user', user, OF_USERS, endpoint);
    if (scope !== undefined) return { scope };
    throw cannotTell(endpoint, `request.user ${whatIsThere(user)}`);
  }
  const auth = readClaims(request, endpoint) ?? readClaims(raw, endpoint);
  const scope =
    scopeIn('auth', auth, OF_CLAIMS, endpoint) ??
    // express-oauth2-jwt-bearer of Auth0 sets the claims as `auth.payload`.
    scopeIn('auth.payload', (auth as { payload?: unknown } | undefined)?.payload, OF_CLAIMS, endpoint);
  return scope === undefined ? { scope: '', credential: credentialOf(request.headers, credentials) } : { scope };
}

/** @throws Error where the claims cannot be read. A caller who is known at one attempt, and not at the next, would run the operation twice */
function readClaims(request: Pick<CallerRequest, 'auth'> | undefined, endpoint: string): unknown {
  try {
    return claimsOf(request);
  } catch (error) {
    throw cannotTell(endpoint, `request.auth() threw ${JSON.stringify((error as Error | undefined)?.message)}`);
  }
}

/** @throws Error for a member that several users may share, instead of reading the next one, which may not identify a user */
function scopeIn(path: string, holder: unknown, names: readonly string[], endpoint: string): string | undefined {
  if (!isHolder(holder)) return undefined;
  const read = (name: string): string | undefined => {
    const value = holder[name];
    // Some models have a method `id()`, and the id in another member.
    if (value === undefined || value === null || value === '' || typeof value === 'function') return undefined;
    const text = textOf(value);
    if (text !== '') return text;
    throw cannotTell(endpoint, `request.${path}.${name} is ${kindOf(value)}, which several users may have`);
  };
  for (const name of names) {
    const id = read(name);
    if (id === undefined) continue;
    // RFC 7519, section 4.1.2: a subject is unique within its issuer.
    const issuer = read('iss');
    return issuer === undefined ? id : ISSUED + JSON.stringify([issuer, id]);
  }
  return undefined;
}

function isHolder(value: unknown): value is Claims {
  return (typeof value === 'object' && value !== null && !Array.isArray(value)) || typeof value === 'function';
}

function cannotTell(endpoint: string, why: string): Error {
  return new Error(
    `${endpoint}: idempotency cannot tell callers apart: ${why}. Set the option \`scope\`, or have your guard set \`request.user.id\``,
  );
}

/** Returns only names, because values may be secret. */
function whatIsThere(user: unknown): string {
  if (!isHolder(user)) return `is ${Array.isArray(user) ? 'an array' : `a ${typeof user}`}, not an object with an id`;
  const names = Object.keys(user);
  const shown = names.slice(0, MAX_NAMES).map((name) => JSON.stringify(name));
  const found = shown.length === 0 ? 'no member' : shown.join(', ') + (names.length > MAX_NAMES ? ' and more' : '');
  return `has ${found}, but no value in ${OF_USERS.join(', ')}`;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return 'NaN, infinite or beyond 2^53';
  return typeof value === 'object' ? 'an object without a text of its own' : `a ${typeof value}`;
}

const AUTHORIZATION = 'authorization';

/**
 * Returns all credentials of a request as one text; `undefined` if it has none. All of them count, because one may be a gateway's,
 * which many callers share.
 *
 * `Authorization` alone is returned unchanged, as records of earlier versions have it. Any other text begins with a line feed, which
 * no header can contain.
 */
function credentialOf(headers: IncomingHttpHeaders, sources: CredentialSources): string | undefined {
  const found: [string, string][] = [];
  for (const name of sources.headers) {
    const value = headers[name];
    if (value) found.push([name, String(value)]);
  }
  if (sources.cookies.length > 0 && headers.cookie) found.push(...cookiesIn(headers.cookie, sources.cookies));
  if (found.length === 0) return undefined;
  if (found.length === 1 && found[0][0] === AUTHORIZATION) return found[0][1];
  return `\n${JSON.stringify(found)}`;
}

/** Returns the first cookie of each name, as cookie parsers do. */
function cookiesIn(header: string, names: readonly string[]): [string, string][] {
  const pairs = header.split(';').map((pair) => {
    const end = pair.indexOf('=');
    return [pair.slice(0, Math.max(end, 0)).trim(), pair.slice(end + 1).trim()] as const;
  });
  return names.flatMap((name): [string, string][] => {
    const value = pairs.find(([one]) => one === name)?.[1];
    // No header's name has a space.
    return value ? [[`cookie ${name}`, value]] : [];
  });
}

const BYTES = 'bytes:';
const ISSUED = 'iss:';
/** Texts that look like encoded bytes or an issuer's subject, or were escaped. Unescaped, a user could choose the id of another. */
const LIKE_ENCODED = /^(text:)*(bytes:|iss:\[)/;

/**
 * Returns an id as text; an empty one if several users may have it. Numbers, bigints and texts with the same digits are the same id,
 * because drivers return one column as any of them.
 */
export function textOf(id: unknown): string {
  switch (typeof id) {
    case 'string':
      return LIKE_ENCODED.test(id) ? `text:${id}` : id;
    case 'number':
      // Beyond 2^53, neighbouring ids are one number. NaN is every id that could not be parsed.
      return Math.abs(id) <= Number.MAX_SAFE_INTEGER ? String(id) : '';
    case 'bigint':
      return String(id);
    case 'object':
      return id === null ? '' : textOfObject(id);
    default:
      return '';
  }
}

function textOfObject(id: object): string {
  // As UTF-8, most bytes of a BINARY(16) key would become U+FFFD, and many users the same.
  if (ArrayBuffer.isView(id)) {
    return id.byteLength > 0 ? BYTES + Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex') : '';
  }
  // ['a,b'] and ['a', 'b'] have the same text.
  if (Array.isArray(id)) return '';
  // `toString()` of a date has no milliseconds.
  if (types.isDate(id)) return Number.isNaN(id.getTime()) ? '' : id.toISOString();
  return ownText(id, 'toString') || ownText(id, 'toHexString');
}

function ownText(id: object, method: 'toString' | 'toHexString'): string {
  const make = (id as Partial<Record<typeof method, unknown>>)[method];
  const text: unknown = typeof make === 'function' ? make.call(id) : '';
  return typeof text === 'string' && !text.startsWith('[object ') && !text.includes('\ufffd') ? textOf(text) : '';
}
