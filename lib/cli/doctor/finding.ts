/** From the best to the worst. */
export const LEVELS = ['ok', 'note', 'warning', 'failure'] as const;

/**
 * - `ok`: as it should be.
 * - `note`: works, and is worth knowing.
 * - `warning`: works today, and will not under load, after a crash, or in time.
 * - `failure`: requests are refused, or keys are not safe, as things are.
 */
export type Level = (typeof LEVELS)[number];

/** One thing that the doctor found out. */
export interface Finding {
  /** What was examined, such as `postgres.fillfactor`: a stable name for scripts. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do. */
  readonly remedy?: string;
}

export const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message });
export const hint = (check: string, message: string, remedy?: string): Finding => made(check, 'note', message, remedy);
export const warning = (check: string, message: string, remedy?: string): Finding =>
  made(check, 'warning', message, remedy);
export const failure = (check: string, message: string, remedy?: string): Finding =>
  made(check, 'failure', message, remedy);

export function worstOf(findings: readonly Finding[]): Level {
  return LEVELS[Math.max(0, ...findings.map(({ level }) => LEVELS.indexOf(level)))];
}

function made(check: string, level: Level, message: string, remedy: string | undefined): Finding {
  return { check, level, message, ...(remedy !== undefined && { remedy }) };
}
