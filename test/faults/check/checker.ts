import type { Entry } from '../history/entry.js';
import { History } from './history.js';
import { RULES } from './rules.js';
import type { Terms, Violation } from './violation.js';

/** Reads a whole history, and says what of it breaks a guarantee. */
export function check(entries: readonly Entry[], terms: Terms): Violation[] {
  const history = new History(entries);
  const violations: Violation[] = [];
  for (const operation of history.operations) {
    for (const [guarantee, rule] of RULES) {
      for (const detail of rule(history, operation, terms)) violations.push({ guarantee, detail, op: operation.op });
    }
  }
  for (const { records, steps } of history.all('left')) {
    if (records > 0 || steps > 0) {
      violations.push({
        guarantee: 'no orphans',
        detail: `${records} records and ${steps} steps are left after sweeping`,
      });
    }
  }
  return violations;
}
