import { withDeadline } from '../../store/deadline.js';
import { isRetryable, reasonOf } from '../../store/driver-errors.js';
import { saysMissingTables } from '../../store/missing-tables.js';
import { failure, type Finding, hint } from './finding.js';

/** What findings about a lost server begin with: the exit code differs. */
export const UNREACHABLE = 'database.connection';

/** One examination. Its errors become findings. */
export interface Check {
  /** What is examined, as it stands in `could not be examined: <name>`. */
  readonly name: string;
  readonly run: () => Promise<readonly Finding[]>;
}

/**
 * Runs checks of one database in turn, each within a time limit. The first that the database does not answer is the last: the
 * others would wait as long for the same finding.
 */
export async function examine(checks: readonly Check[], timeoutMs: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, run } of checks) {
    try {
      findings.push(...(await withDeadline(run(), timeoutMs)));
    } catch (error) {
      if (isRetryable(error)) return [...findings, lost(error)];
      // A finding of its own, of those who look for tables.
      if (saysMissingTables(error)) continue;
      findings.push(
        hint(name, `Could not be examined: ${reasonOf(error)}`, 'Run the doctor as a user who may read this'),
      );
    }
  }
  return findings;
}

/** A database that gives no answer. */
function lost(error: unknown): Finding {
  return unreachable(`The database does not answer: ${reasonOf(error)}`);
}

export function unreachable(message: string): Finding {
  return failure(
    UNREACHABLE,
    message,
    'See that it runs, that the address and the credentials are right, and that it accepts connections from here',
  );
}
