/** From the best to the worst. */
export const LEVELS = ['ok', 'note', 'warning', 'failure'] as const;

/**
 * - `ok`: as it should be.
 * - `note`: works, and is worth knowing.
 * - `warning`: works today, but not under load, after a crash or in the long run.
 * - `failure`: requests are refused, or keys are not safe.
 */
export type Level = (typeof LEVELS)[number];

/** One result of the doctor. */
export interface Finding {
  /** What was examined, such as `postgres.fillfactor`. Scripts depend on these names. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do. */
  readonly remedy?: string;
}

/** A check of a server. It yields while it asks, so that it reads as a list of questions and findings. */
export type Findings = AsyncGenerator<Finding, void>;

const of =
  (level: Level) =>
  (check: string, message: string, remedy?: string): Finding => ({ check, level, message, remedy });

export const ok = of('ok');
export const hint = of('note');
export const warning = of('warning');
export const failure = of('failure');

export async function collect(findings: AsyncIterable<Finding>): Promise<Finding[]> {
  const all: Finding[] = [];
  for await (const finding of findings) all.push(finding);
  return all;
}

export function worstOf(findings: readonly Finding[]): Level {
  return LEVELS[Math.max(0, ...findings.map(({ level }) => LEVELS.indexOf(level)))];
}
