import { storedText } from './stored-text.js';
import { fromValueJson, toValueJson, type TypedPlace } from './value-json.js';

/**
 * A step that is on record as done, though its result is not: JSON cannot carry it, or the store refused it. No JSON
 * text begins like this.
 */
export const RESULT_NOT_KEPT = '!';

/** Before the types of what JSON cannot carry, which end with the line. No JSON text begins like this. */
const TYPES_MARK = '#';

/**
 * Writes a step's result as it is stored: JSON text, and a first line with types where it has dates, bigints, bytes, Maps
 * or Sets; `null` for undefined.
 *
 * @throws TypeError for a value that contains itself, and whatever a `toJSON()` throws
 */
export function packStepResult(value: unknown): string | null {
  const { json, types } = toValueJson(value);
  if (json === undefined) return null;
  return types ? `${TYPES_MARK}${JSON.stringify(types)}\n${json}` : json;
}

/** Reads what {@link packStepResult} wrote. */
export function unpackStepResult(stored: string | null): unknown {
  if (stored === null) return undefined;
  if (!stored.startsWith(TYPES_MARK)) return JSON.parse(stored) as unknown;
  const end = stored.indexOf('\n');
  return fromValueJson({
    json: stored.slice(end + 1),
    types: JSON.parse(stored.slice(TYPES_MARK.length, end)) as TypedPlace[],
  });
}

/** Characters of a step's name that the store keeps. */
const LONGEST_NAME = 191;

/**
 * Returns a step's name as every database stores it. A name may come from a client's JSON: what a database refuses would
 * be found out after the step has run. Different names stay different.
 *
 * @throws RangeError for a name that is empty or too long
 */
export function storedStepName(name: string): string {
  const stored = storedText(name);
  if (stored.length > 0 && stored.length <= LONGEST_NAME) return stored;
  throw new RangeError(`A step's name has 1 to ${LONGEST_NAME} characters`);
}
