/** U+0000, which PostgreSQL refuses; half a surrogate pair, which no encoding has; a space at the end, which MySQL's
 * comparison ignores; and what begins an escape. */
const NOT_STORABLE = /\0|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]| $|\\(?=u\{)/g;

/** Characters that the columns `endpoint` and `route` hold. */
const LONGEST_LABEL = 255;

/**
 * Returns a text as every database stores it. A text may come from a client: what a database refuses would be a 503 for
 * ever, or be found out after the operation has run. Different texts stay different.
 */
export function storedText(text: string): string {
  return text.replace(NOT_STORABLE, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}

/** Returns what operators see of an operation's name or route: {@link storedText}, and no more of it than the column holds. */
export function storedLabel(text: string): string {
  const stored = storedText(text);
  if (stored.length <= LONGEST_LABEL) return stored;
  // Not between the halves of a pair.
  return stored.slice(0, LONGEST_LABEL).replace(/[\uD800-\uDBFF]$/, '');
}
