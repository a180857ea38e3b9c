/** An option that cannot be used, found at boot. The message names it. */
export class IdempotencyOptionError extends Error {
  override readonly name = 'IdempotencyOptionError';
  constructor(
    /** Path of the option, such as `sweep.every`. */
    readonly option: string,
    /** @internal */
    readonly problem: string,
    module = 'IdempotencyModule',
  ) {
    super(`${module}: option \`${option}\` ${problem}`);
  }
}
