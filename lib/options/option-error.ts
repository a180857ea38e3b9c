/** An option cannot be used. Thrown at boot, with a message that names the option. */
export class IdempotencyOptionError extends Error {
  override readonly name = 'IdempotencyOptionError';
  constructor(
    /** The path of the option, such as `sweep.every`. */
    readonly option: string,
    /** @internal */
    readonly problem: string,
    module = 'IdempotencyModule',
  ) {
    super(`${module}: option \`${option}\` ${problem}`);
  }
}

/** Runs `check`, whose errors then name another module or a decorator: a reader would look for the option in `forRoot()`. */
export function onBehalfOf<T>(module: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof IdempotencyOptionError)) throw error;
    throw new IdempotencyOptionError(error.option, error.problem, module);
  }
}
