import type { Policy } from './policy.js';
import type { Claim } from './ports/record-store.js';
import type { StreamedInput } from './ports/streamed-input.js';

/** One request for an operation, as an edge hands it to the engine. */
export interface Operation extends Pick<
  Claim,
  'recordId' | 'endpoint' | 'route' | 'scopeDigest' | 'fingerprint' | 'binding'
> {
  /** The client's key, for the handler; never stored or logged. */
  readonly key: string;
  /** The part of the input that `fingerprint` does not cover, because the handler reads it as it arrives. */
  readonly input?: StreamedInput | undefined;
  /**
   * Returns whether `binding` is of the same credential, but computed with a former encryption key. Absent where there are no former
   * keys. Without it, a rotation of keys would refuse every retry as another caller's.
   */
  readonly isFormerBinding?: (binding: Buffer) => boolean;
  /** Returns what the record keeps of the request, if anything. Called by claims only, as most duplicates need none. */
  readonly request: () => Buffer | null;
  readonly policy: Policy;
  /**
   * Whether the operation begins even while the application shuts down and waits for what runs. Clients repeat an HTTP request that
   * gets 503. A refused event or job might be lost, and a handler that calls `run()` would fail half way.
   */
  readonly beginsInDrain?: boolean;
}
