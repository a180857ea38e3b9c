const RealDate = Date;
let offset = 0;

/** From here on, `Date` in this process is off by so many milliseconds. */
export function shiftClock(ms: number): void {
  offset = ms;
  globalThis.Date = class extends RealDate {
    constructor(...args: [] | [string]) {
      super(...((args.length ? args : [RealDate.now() + offset]) as [string]));
    }
    static override now = () => RealDate.now() + offset;
  } as DateConstructor;
}

/** By how many milliseconds the clock is off. */
export function clockOffset(): number {
  return offset;
}
