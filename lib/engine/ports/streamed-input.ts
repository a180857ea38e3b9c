/**
 * An input that its handler reads itself, as it arrives. Its fingerprint is known once it has been read: the claim is made
 * with that of the rest of the request, and the completion brings the whole.
 */
export interface StreamedInput {
  /** Whether it ended before it was complete, as its sender has gone. */
  readonly brokeOff: boolean;

  /**
   * The fingerprint of the request together with its input, as far as the handler was given that: 32 bytes. Asked for
   * when the handler has ended, and the same whenever it is asked for again.
   */
  fingerprint(): Promise<Buffer>;

  /**
   * Reads the input of a duplicate, whose handler never runs, and returns whether `recorded` is its fingerprint. Asked for
   * once. Rejects where the input breaks off.
   */
  matches(recorded: Buffer): Promise<boolean>;
}
