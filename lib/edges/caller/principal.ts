import type { IncomingHttpHeaders } from 'node:http';
import { types } from 'node:util';
import type { CredentialSources } from '../../options/resolved-options.js';
import { credentialOf } from './credential.js';

/** What identifies the caller of an Express or a Fastify request. */
export interface CallerRequest {
  readonly headers: IncomingHttpHeaders;
  readonly user?: unknown;
  /** Claims of a token, of express-jwt and the like. */
  readonly auth?: unknown;
}

/** Whom a key belongs to. */
export interface Principal {
  /** Part of the record's identity: the same key of two principals names two records. */
  readonly scope: string;
  /** What distinguishes callers without a principal, as they sent it: a secret, never stored. */
  readonly credential?: string;
}

/** Members that identify a user, in the order in which they are read. */
const OF_USERS = ['id', 'sub', 'userId', 'uid', '_id', 'user_id'] as const;
/** Of `request.auth`, whose `id` may be the id of a token: a refreshed token would make every key a new one. */
const OF_CLAIMS = ['sub', 'userId'] as const;

/** An error names at most so many members of a user. */
const MOST_NAMES = 20;

type Claims = Readonly<Record<string, unknown>>;

/**
 * The authenticated principal: the first member of `request.user` that identifies a user, or the subject of `request.auth`,
 * with the issuer where there is one. Without a principal, the caller's credential: a record that is bound to it is of no use
 * to another caller who learnt the key.
 *
 * @throws Error where `request.user` does not distinguish users: they would share their keys
 */
export function principalOf(request: CallerRequest, credentials: CredentialSources, endpoint: string): Principal {
  // On Fastify, Nest's middleware gets node's own request.
  const { raw } = request as { readonly raw?: Pick<CallerRequest, 'user' | 'auth'> };
  const user = request.user ?? raw?.user;
  // Passport's `false`: an optional guard let an anonymous caller in.
  if (user !== undefined && user !== null && user !== false) {
    const scope = scopeIn('user', user, OF_USERS, endpoint);
    if (scope !== undefined) return { scope };
    throw cannotTell(endpoint, `request.user ${whatIsThere(user)}`);
  }
  const auth = request.auth ?? raw?.auth;
  const scope =
    scopeIn('auth', auth, OF_CLAIMS, endpoint) ??
    // Auth0's express-oauth2-jwt-bearer.
    scopeIn('auth.payload', (auth as { payload?: unknown } | undefined)?.payload, OF_CLAIMS, endpoint);
  return scope === undefined ? { scope: '', credential: credentialOf(request.headers, credentials) } : { scope };
}

/** @throws Error for a member that several users may share: the next one could be of another kind */
function scopeIn(path: string, holder: unknown, names: readonly string[], endpoint: string): string | undefined {
  if (!isHolder(holder)) return undefined;
  const read = (name: string): string | undefined => {
    const value = holder[name];
    // A method is no id: models have a method `id()` beside the property that holds it.
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

/** Names alone: values may be secret. */
function whatIsThere(user: unknown): string {
  if (!isHolder(user)) return `is ${Array.isArray(user) ? 'an array' : `a ${typeof user}`}, not an object with an id`;
  const names = Object.keys(user);
  const shown = names.slice(0, MOST_NAMES).map((name) => JSON.stringify(name));
  const found = shown.length === 0 ? 'no member' : shown.join(', ') + (names.length > MOST_NAMES ? ' and more' : '');
  return `has ${found}, but none of ${OF_USERS.join(', ')}`;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return 'NaN, infinite or beyond 2^53';
  return typeof value === 'object' ? 'an object without a text of its own' : `a ${typeof value}`;
}

const BYTES = 'bytes:';
const ISSUED = 'iss:';
/** Texts that could be taken for the text of bytes or of an issuer's subject, and those that have been escaped for it. */
const LIKE_ENCODED = /^(text:)*(bytes:|iss:\[)/;

/**
 * An id as text; empty for what does not tell users apart. Numbers, bigints and texts that look the same are the same:
 * drivers return one column as any of them.
 */
function textOf(id: unknown): string {
  switch (typeof id) {
    case 'string':
      return LIKE_ENCODED.test(id) ? `text:${id}` : id;
    case 'number':
      // Beyond 2^53, neighbours are one number. NaN is everybody whose id could not be parsed.
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
  // Read as UTF-8, most bytes of a BINARY(16) key become U+FFFD, and many users one.
  if (ArrayBuffer.isView(id)) {
    return id.byteLength > 0 ? BYTES + Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex') : '';
  }
  // The text of an array is also that of others, such as ['a,b'] and ['a', 'b'].
  if (Array.isArray(id)) return '';
  // The text of a date has no milliseconds.
  if (types.isDate(id)) return Number.isNaN(id.getTime()) ? '' : id.toISOString();
  return ownText(id, 'toString') || ownText(id, 'toHexString');
}

function ownText(id: object, method: 'toString' | 'toHexString'): string {
  const make = (id as Partial<Record<typeof method, unknown>>)[method];
  const text: unknown = typeof make === 'function' ? make.call(id) : '';
  return typeof text === 'string' && !text.startsWith('[object ') && !text.includes('\ufffd') ? textOf(text) : '';
}
