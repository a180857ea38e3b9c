import { BadRequestException } from '@nestjs/common';
import type { Readable } from 'node:stream';

export interface PeekedBody {
  /** The beginning of the body, at most as many bytes as were asked for. */
  readonly bytes: Buffer;
  /** Whether that is all of it. */
  readonly whole: boolean;
}

/**
 * Reads up to `limit` bytes of a body that nobody has read yet, and puts them back: whoever reads it next finds it as if
 * it had not been touched.
 *
 * @throws BadRequestException where the client goes away before that
 */
export function peekBody(stream: Readable, limit: number): Promise<PeekedBody> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;

    const stop = () => {
      stream.off('readable', take);
      stream.off('error', fail);
      stream.off('close', fail);
    };
    const fail = () => {
      stop();
      reject(new BadRequestException('The request was aborted'));
    };
    const take = () => {
      // A read at the end of an empty stream would make it emit 'end', before there is a reader to hear it.
      const empty = hasEnded(stream) && stream.readableLength === 0 && size === 0;
      while (!empty && size <= limit) {
        const chunk = stream.read() as Buffer | null;
        if (chunk === null) break;
        chunks.push(chunk);
        size += chunk.length;
      }
      const whole = hasEnded(stream) && size <= limit;
      if (size <= limit && !whole) return;
      stop();
      const bytes = Buffer.concat(chunks);
      // In the same tick as the read that came to the end: 'end' has not been emitted, and waits for these bytes.
      if (size > 0) stream.unshift(bytes);
      resolve({ bytes: bytes.subarray(0, limit), whole });
    };

    if (stream.destroyed) return fail();
    if (hasEnded(stream)) return take();
    stream.on('readable', take);
    stream.on('error', fail);
    stream.on('close', fail);
  });
}

/** Whether all of a stream has arrived, though not all of it need have been read. */
function hasEnded(stream: Readable): boolean {
  // Node tells this nowhere else: `readableEnded` comes after 'end', which is too late to put anything back.
  return (stream as unknown as { _readableState: { ended: boolean } })._readableState.ended;
}
