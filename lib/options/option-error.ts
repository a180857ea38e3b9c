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
