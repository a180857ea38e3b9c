import { withDeadline } from '../../store/deadline.js';
import { isRetryable, reasonOf } from '../../store/driver-errors.js';
import { saysMissingTables } from '../../store/missing-tables.js';
import { collect, failure, type Finding, type Findings, hint } from './finding.js';
import type { Subject } from './subject.js';

/** The name of findings about a lost server: the exit code depends on it. */
export const UNREACHABLE = 'database.connection';

/** Checks by their names. An error of a check becomes a finding with that name. */
export type Checks = Readonly<Record<string, (subject: Subject) => Findings>>;

/**
 * Runs checks in turn, each within a time limit. Ends at the first that the database does not answer: each further one would wait as
 * long for the same finding.
 */
export async function examine(checks: Checks, subject: Subject, timeoutMs: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [name, check] of Object.entries(checks)) {
    try {
      findings.push(...(await withDeadline(collect(check(subject)), timeoutMs)));
    } catch (error) {
      if (isRetryable(error)) return [...findings, unreachable(`The database does not answer: ${reasonOf(error)}`)];
      // The check of the tables reports missing ones.
      if (saysMissingTables(error)) continue;
      findings.push(
        hint(name, `Could not be examined: ${reasonOf(error)}`, 'Run the doctor as a user who may read this'),
      );
    }
  }
  return findings;
}

/** @param remedy default: what to check about a server */
export function unreachable(
  message: string,
  remedy = 'Check that it runs, that the address and the credentials are right, and that it accepts connections from here',
): Finding {
  return failure(UNREACHABLE, message, remedy);
}
