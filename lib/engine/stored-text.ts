/**
 * U+0000, which PostgreSQL refuses; half a surrogate pair, which UTF-8 cannot encode; a space at the end, which MySQL ignores in
 * comparisons; and the beginning of an escape. Also control characters, separators of lines and changes of direction: logs and terminals
 * show these texts, and a client would forge lines of a log, or command the terminal.
 */
const NOT_STORABLE =
  // oxlint-disable-next-line no-control-regex
  /[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]| $|\\(?=u\{)/g;

/** The length of the columns `endpoint` and `route`, in characters. A strict MySQL refuses a longer text. */
const MAX_LABEL_LENGTH = 255;

/**
 * Escapes what some database cannot store. The text may come from a client: a refused statement would answer every retry with 503, or
 * fail after the operation has run. Different texts stay different.
 */
export function storedText(text: string): string {
  return text.replace(NOT_STORABLE, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}

/** Returns an operation's name or route as operators see it: {@link storedText}, cut to the length of its column. */
export function storedLabel(text: string): string {
  const stored = storedText(text);
  if (stored.length <= MAX_LABEL_LENGTH) return stored;
  // Not between the halves of a surrogate pair.
  return stored.slice(0, MAX_LABEL_LENGTH).replace(/[\uD800-\uDBFF]$/, '');
}
