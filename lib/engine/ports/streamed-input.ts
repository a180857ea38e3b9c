/**
 * An input that the handler reads as it arrives. Its fingerprint is known only once it has been read, so that the claim has the
 * fingerprint of the rest of the request, and the completion that of the whole.
 */
export interface StreamedInput {
  /** Whether the sender went away before the input was complete. */
  readonly isTruncated: boolean;

  /**
   * Returns 32 bytes over the request and as much of its input as the handler received. Called after the handler has ended; every call
   * returns the same.
   */
  fingerprint(): Promise<Buffer>;

  /**
   * Reads the input of a duplicate, whose handler does not run, and returns whether `recorded` is its fingerprint. Called at most once.
   * Rejects where the input breaks off: half an input must not get a replay.
   */
  matches(recorded: Buffer): Promise<boolean>;
}
