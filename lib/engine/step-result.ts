import { UnreadableRecordError } from './errors.js';
import { storedText } from './stored-text.js';
import { fromValueJson, toValueJson, type TypedPlace } from './value-json.js';

/** Marks a step that is done without its result: JSON cannot express it, or the store refused it. No JSON text begins like this. */
export const RESULT_NOT_KEPT = '!';

/** Begins a first line with the types of values that JSON cannot express. No JSON text begins like this. */
const TYPES_MARK = '#';

/**
 * Returns a step's result as the store keeps it: JSON text, after a line of types where it has dates, bigints, bytes, Maps or Sets.
 * `null` stands for undefined.
 *
 * @throws TypeError for what JSON cannot carry, and what its `toJSON()` throws
 */
export function packStepResult(value: unknown): string | null {
  const { json, types } = toValueJson(value);
  if (json === undefined) return null;
  return types ? `${TYPES_MARK}${JSON.stringify(types)}\n${json}` : json;
}

/**
 * Reverses {@link packStepResult}.
 *
 * @throws UnreadableRecordError for what it has not made, such as a result that another process has encrypted
 */
export function unpackStepResult(stored: string | null): unknown {
  if (stored === null) return undefined;
  try {
    if (!stored.startsWith(TYPES_MARK)) return JSON.parse(stored) as unknown;
    const end = stored.indexOf('\n');
    return fromValueJson({
      json: stored.slice(end + 1),
      types: JSON.parse(stored.slice(TYPES_MARK.length, end)) as TypedPlace[],
    });
  } catch (error) {
    throw new UnreadableRecordError({ cause: error });
  }
}

/** The length of the column `name` of steps, in characters. */
const MAX_NAME_LENGTH = 191;

/**
 * Returns a step's name as {@link storedText}. A name may come from a client's JSON, and a store that refuses it would do so after the
 * step has run.
 *
 * @throws RangeError for a name that is empty or too long
 */
export function storedStepName(name: string): string {
  const stored = storedText(name);
  if (stored.length > 0 && stored.length <= MAX_NAME_LENGTH) return stored;
  throw new RangeError(`A step's name has 1 to ${MAX_NAME_LENGTH} characters`);
}
