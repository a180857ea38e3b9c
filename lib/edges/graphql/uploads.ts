import { Readable } from 'node:stream';
import { plain, writeCanonical } from '../content/canonical-json.js';
import { digestOfStream } from '../content/digest.js';
import { comparedContent, type Comparison, pointInto } from '../content/json-pointer.js';
import { isPromise } from './settled.js';

/** A file as graphql-upload passes it to resolvers. It is stored in a temporary file, so it can be read more than once. */
interface FileUpload {
  readonly filename?: string;
  readonly mimetype?: string;
  readonly encoding?: string;
  /** The temporary file. graphql-upload-minimal has none: its content can be read only once. */
  readonly capacitor?: object;
  createReadStream(): Readable;
}

/** A value that JSON cannot express, and its place in the arguments. */
interface Place {
  readonly names: readonly string[];
  readonly value: object;
}

/**
 * Returns the arguments of a mutation as JSON: promises as their values, files as name, type, encoding and digest. JSON itself writes
 * `{}` for all of these, and two different files would be the same request. Files are read here and again by the resolver.
 *
 * @param compared the arguments that are compared. Promises and files elsewhere are not read, and become `null`
 * @throws Error for a stream, which the resolver could not read again; the reason of a rejected promise
 */
export async function describedArguments(
  args: unknown,
  compared: Comparison | undefined,
  endpoint: string,
): Promise<unknown> {
  const places = unplainIn(args);
  if (places.length === 0) return args;
  const found = new Set(compared && unplainIn(comparedContent(args, compared)).map(({ value }) => value));
  const isCompared = ({ value, names }: Place) => found.has(value) || (compared && pointInto(compared, names));
  const described = new Map<unknown, unknown>(
    await Promise.all(
      places.map(async (place) => [place.value, isCompared(place) ? await describe(place, endpoint) : null] as const),
    ),
  );
  return JSON.parse(writeCanonical(args, (one) => plain(described.has(one) ? described.get(one) : one)));
}

/** A value on the way to those below it. */
interface Visit {
  readonly name: string;
  readonly value: unknown;
  readonly from: Visit | undefined;
}

/** Works without recursion, because a client could nest arguments deeper than the stack. */
function unplainIn(root: unknown): Place[] {
  const found: Place[] = [];
  const seen = new Set<object>();
  const open: Visit[] = [{ name: '', value: root, from: undefined }];
  for (let visit = open.pop(); visit; visit = open.pop()) {
    if (isUnplain(visit.value)) {
      found.push({ names: namesTo(visit), value: visit.value });
      continue;
    }
    const value = plain(visit.value);
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const [name, member] of Object.entries(value)) open.push({ name, value: member as unknown, from: visit });
  }
  return found;
}

function namesTo(visit: Visit): string[] {
  const names: string[] = [];
  for (let at = visit; at.from; at = at.from) names.unshift(at.name);
  return names;
}

async function describe({ names, value }: Place, endpoint: string): Promise<unknown> {
  if (isPromise(value)) {
    const come: unknown = await value;
    return isUnplain(come) ? describe({ names, value: come }, endpoint) : describedArguments(come, {}, endpoint);
  }
  if (isUpload(value) && value.capacitor) {
    const { filename, mimetype, encoding } = value;
    return { filename, mimetype, encoding, sha256: await digestOfStream(value.createReadStream()) };
  }
  if (value instanceof Blob) {
    const { name, type, size } = value as Blob & { readonly name?: string };
    return { filename: name, mimetype: type, size, sha256: await digestOfStream(Readable.from(value.stream())) };
  }
  const pointer = ['', ...names].join('/');
  throw new Error(
    `Idempotency cannot compare the argument ${pointer} of ${endpoint}: it can be read only once, and its resolver has to. Take ` +
      'uploads by graphql-upload, which keeps them, or leave the argument out of the fingerprint by `fingerprint.ignore`.',
  );
}

function isUnplain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return isPromise(value) || isUpload(value) || value instanceof Blob || isStream(value);
}

function isUpload(value: object): value is FileUpload {
  return 'createReadStream' in value && typeof value.createReadStream === 'function';
}

function isStream(value: object): boolean {
  return ('pipe' in value && typeof value.pipe === 'function') || Symbol.asyncIterator in value;
}
