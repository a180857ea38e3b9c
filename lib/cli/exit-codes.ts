/** The exit codes of the program. Scripts depend on them: docs/cli.md documents them. */
export const ExitCode = {
  fine: 0,
  /** No record was found, or its state does not allow the command. */
  refused: 1,
  usage: 2,
  /** The database cannot be reached, or its driver is not installed. */
  unreachable: 3,
  /** The database answered with an error, such as a missing table. */
  database: 4,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error that is printed as its message, without a stack. */
export class CliError extends Error {
  constructor(
    readonly exitCode: ExitCode,
    message: string,
    /** The command to type next. */
    readonly next?: string,
  ) {
    super(message);
  }
}

/** @param next the command to type next. Default: the command's help */
export const usageError = (message: string, next?: string) => new CliError(ExitCode.usage, message, next);
export const refusal = (message: string) => new CliError(ExitCode.refused, message);

export const noDatabase = () =>
  usageError(
    'Which database? Set DATABASE_URL, or give --database-url',
    'export DATABASE_URL=postgres://user:password@host/database',
  );
