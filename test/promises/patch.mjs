/**
 * A fault that is put into the library on purpose.
 *
 * @typedef {object} Patch
 * @property {string} file of lib
 * @property {string} find stands exactly once in the file
 * @property {string} replace
 */

/**
 * @param {Patch} patch
 * @param {string} source
 * @returns {string} the source with the fault in it
 */
export function patched({ file, find, replace }, source) {
  const [before, after, ...others] = source.split(find);
  if (after === undefined) throw new Error(`${file} has changed: nothing in it is\n${find}`);
  if (others.length > 0) throw new Error(`${file} has ${others.length + 1} places that are\n${find}`);
  return before + replace + after;
}
