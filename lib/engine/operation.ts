import type { Policy } from './policy.js';
import type { StreamedInput } from './ports/streamed-input.js';

/** One request for an operation, as an edge hands it to the engine. */
export interface Operation {
  /** The client's key, for the handler; never stored or logged. */
  readonly key: string;
  /** See {@link Claim.recordId}. */
  readonly recordId: string;
  /** See {@link Claim.endpoint}. */
  readonly endpoint: string;
  /** See {@link Claim.route}. */
  readonly route: string | null;
  /** See {@link Claim.scopeDigest}. */
  readonly scopeDigest: Buffer | null;
  /** See {@link Claim.fingerprint}. */
  readonly fingerprint: Buffer;
  /** The part of the input that `fingerprint` does not cover, as its handler still has to read it. */
  readonly input?: StreamedInput | undefined;
  /** See {@link Claim.binding}. */
  readonly binding: Buffer | null;
  /**
   * Whether `binding` is of the same credential, and was made with another of the encryption keys: those in use before the
   * keys were rotated. Absent: there are no others.
   */
  readonly isFormerBinding?: (binding: Buffer) => boolean;
  /** Returns what is kept of the request, if anything. Asked for by a claim alone: most duplicates make none. */
  readonly request: () => Buffer | null;
  readonly policy: Policy;
}
