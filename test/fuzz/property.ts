import fc from 'fast-check';

/** How a property is tried. */
export interface Trial {
  readonly runs: number;
  /** Of the inputs; by default another one each time, which a failure prints. */
  readonly seed?: number | undefined;
}

/** What holds for every input, tried with inputs at random, and with those of its corpus each time. */
export interface Property {
  readonly name: string;
  /** Throws with the input that it does not hold for, made as small as it can be, and the seed. */
  check(trial: Trial): Promise<void>;
}

/**
 * A property of some inputs. What `holds` expects has to be found without the code that is tested: by a grammar of its own, or from
 * how the input was made.
 *
 * @param corpus inputs that once failed, or are easily forgotten
 */
export function property<Inputs extends [unknown, ...unknown[]]>(
  name: string,
  arbitraries: { [I in keyof Inputs]: fc.Arbitrary<Inputs[I]> },
  holds: (...inputs: Inputs) => void | Promise<void>,
  corpus: readonly Inputs[] = [],
): Property {
  return {
    name,
    check: async ({ runs, seed }) => {
      const inputs = fc.tuple(...arbitraries) as unknown as fc.Arbitrary<Inputs>;
      const tried = fc.asyncProperty(inputs, async (one) => holds(...one));
      await fc.assert(tried, {
        numRuns: runs + corpus.length,
        examples: corpus.map((one) => [one]),
        ...(seed !== undefined && { seed }),
      });
    },
  };
}

/** Any byte, as a character. */
export const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));

/** Visible ASCII. */
export const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));

/** Text of few UTF-16 code units, so that two of them are often the same, or nearly. */
export const textOf = (characters: string, maxLength = 6): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...characters.split('')), maxLength });
