/** What scripts are told. Documented in docs/cli.md. */
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

/** An end that the user is told of by its message alone. */
export class CliError extends Error {
  constructor(
    readonly exitCode: ExitCode,
    message: string,
  ) {
    super(message);
  }
}

export const usageError = (message: string) => new CliError(ExitCode.usage, message);
export const refusal = (message: string) => new CliError(ExitCode.refused, message);
