import { relative } from 'node:path';

/** @typedef {{ name: string, killed: number, timeout: number, survived: number, uncovered: number }} Count */

/**
 * @param {string} name
 * @param {import('@stryker-mutator/api/core').MutantResult[]} results
 * @returns {Count}
 */
export function count(name, results) {
  const of = (/** @type {string} */ status) => results.filter((result) => result.status === status).length;
  for (const { status, fileName, location, mutatorName, replacement } of results) {
    if (status !== 'Survived' && status !== 'NoCoverage') continue;
    console.log(
      `${status} ${relative(process.cwd(), fileName)}:${location.start.line} ${mutatorName} ${replacement ?? ''}`,
    );
  }
  return {
    name,
    killed: of('Killed'),
    timeout: of('Timeout'),
    survived: of('Survived'),
    uncovered: of('NoCoverage'),
  };
}

/** Prints a line for each, and one for all. @param {Count[]} counts @returns {number} the score of all, in percent */
export function print(counts) {
  const all = { name: 'all', killed: 0, timeout: 0, survived: 0, uncovered: 0 };
  for (const one of counts) {
    for (const kind of /** @type {const} */ (['killed', 'timeout', 'survived', 'uncovered'])) all[kind] += one[kind];
  }
  console.table(
    Object.fromEntries(
      [...counts, all].map(({ name, ...one }) => [name, { ...one, 'score in %': score(one).toFixed(1) }]),
    ),
  );
  return score(all);
}

/** @param {Omit<Count, 'name'>} count */
function score({ killed, timeout, survived, uncovered }) {
  const noticed = killed + timeout;
  return (100 * noticed) / (noticed + survived + uncovered);
}
