/** What scripts see. Documented in docs/cli.md. */
export const ExitCode = {
  fine: 0,
  /** There is no such record, or it is not in a state to be dealt with so. */
  refused: 1,
  usage: 2,
  /** The database cannot be reached, or its driver is not installed. */
  unreachable: 3,
  /** The database was reached and reported an error: a table is missing, say. */
  database: 4,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error that is printed as its message, without a stack. */
export class CliError extends Error {
  constructor(
    readonly exitCode: ExitCode,
    message: string,
    /** What to type next. */
    readonly next?: string,
  ) {
    super(message);
  }
}

/** @param next what to type next; by default the help of the command */
export const usageError = (message: string, next?: string) => new CliError(ExitCode.usage, message, next);
export const refusal = (message: string) => new CliError(ExitCode.refused, message);
