import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { plain, writeCanonical } from '../../canonical-json.js';

/** A file as graphql-upload gives it to resolvers: from a temporary file, and so as often as one likes. */
interface FileUpload {
  readonly filename?: string;
  readonly mimetype?: string;
  readonly encoding?: string;
  /** Where graphql-upload keeps the content. graphql-upload-minimal has none, and gives the content once. */
  readonly capacitor?: object;
  createReadStream(): Readable;
}

/** Something that JSON has no word for, and a JSON pointer to it. */
interface Place {
  readonly path: string;
  readonly value: object;
}

/**
 * The arguments of a mutation as JSON has them: promises by what they come to, files by name, type, encoding and digest. To
 * JSON itself all of these are `{}`, and two files would be one request. Files are read in pieces, and again by the resolver.
 *
 * @param compared what of `args` is compared; promises and files elsewhere are not waited for, and become `null`
 * @throws Error for a stream, which the resolver could not read any more; what a promise is rejected with
 */
export async function describedArguments(args: unknown, compared: unknown, endpoint: string): Promise<unknown> {
  const places = unplainIn(args);
  if (places.length === 0) return args;
  const wanted = new Set(unplainIn(compared).map(({ value }) => value));
  const described = new Map<unknown, unknown>(
    await Promise.all(
      places.map(
        async (place) => [place.value, wanted.has(place.value) ? await describe(place, endpoint) : null] as const,
      ),
    ),
  );
  return JSON.parse(writeCanonical(args, (one) => plain(described.has(one) ? described.get(one) : one)));
}

/** Without recursion: arguments may be nested deeper than the stack is. */
function unplainIn(root: unknown): Place[] {
  const found: Place[] = [];
  const seen = new Set<object>();
  const open = [{ path: '', value: root }];
  for (let place = open.pop(); place; place = open.pop()) {
    const { path } = place;
    if (isUnplain(place.value)) {
      found.push({ path, value: place.value });
      continue;
    }
    const value = plain(place.value);
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const [name, member] of Object.entries(value))
      open.push({ path: `${path}/${name}`, value: member as unknown });
  }
  return found;
}

async function describe({ path, value }: Place, endpoint: string): Promise<unknown> {
  if (isPromise(value)) {
    const come: unknown = await value;
    return isUnplain(come) ? describe({ path, value: come }, endpoint) : describedArguments(come, come, endpoint);
  }
  if (isUpload(value) && value.capacitor) {
    const { filename, mimetype, encoding } = value;
    return { filename, mimetype, encoding, sha256: await digest(value.createReadStream()) };
  }
  if (value instanceof Blob) {
    const { name, type, size } = value as Blob & { readonly name?: string };
    return { filename: name, mimetype: type, size, sha256: await digest(Readable.from(value.stream())) };
  }
  throw new Error(
    `Idempotency cannot compare the argument ${path} of ${endpoint}: it can be read only once, and its resolver has to. Take ` +
      'uploads by graphql-upload, which keeps them, or leave the argument out of the fingerprint by `fingerprint.ignore`.',
  );
}

async function digest(content: Readable): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(content, hash);
  return hash.digest('base64');
}

function isUnplain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return isPromise(value) || isUpload(value) || value instanceof Blob || isStream(value);
}

function isPromise(value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function';
}

function isUpload(value: object): value is FileUpload {
  return 'createReadStream' in value && typeof value.createReadStream === 'function';
}

/** Of Node, or of the web. */
function isStream(value: object): boolean {
  return ('pipe' in value && typeof value.pipe === 'function') || Symbol.asyncIterator in value;
}
