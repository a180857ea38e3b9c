import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { HandlerCalls } from '../../engine/handler-calls.js';
import { isDestroyed } from './http2.js';
import { streamError } from './response-stream.js';
import { isWebResponse } from './web-response.js';

/** How a handler's value is read. */
interface Reading {
  readonly next: () => Promise<{ readonly done?: boolean | undefined }>;
  readonly stop: () => Promise<unknown>;
}

/**
 * Has a stream, a web stream or a web Response that a handler returned be read to its end. Nest 12 reads them itself, and stops when the client
 * has gone. The reading counts as a call of the handler, as that of a generator does: the operation ends with it.
 *
 * @param isFailure whether an error of the stream is one of the handler
 */
export function readToEnd(value: unknown, response: ServerResponse, calls: HandlerCalls, isFailure: boolean): void {
  const body = isWebResponse(value) ? value.body : value;
  const watched = (reading: Reading): Reading => {
    let settle: ((error?: Error) => void) | undefined;
    const begin = () => {
      const call = calls.beginBody();
      return (error?: Error) =>
        error && isFailure ? calls.settle(call, 'failed', error) : calls.settle(call, 'succeeded', value);
    };
    const next = async () => {
      settle ??= begin();
      try {
        const result = await reading.next();
        if (result.done) settle();
        return result;
      } catch (error) {
        // `controller.error()` needs no reason.
        settle(streamError(error));
        throw error;
      }
    };
    const readRest = async () => {
      while (!(await next()).done);
    };
    const stop = async () => {
      // Its error is that of the call.
      if (isDestroyed(response)) return void readRest().catch(() => undefined);
      settle?.(streamError());
      return reading.stop();
    };
    return { next, stop };
  };
  if (body instanceof Readable) {
    const open = body[Symbol.asyncIterator].bind(body);
    body[Symbol.asyncIterator] = () => {
      const iterator = open();
      const { next, stop } = watched({ next: iterator.next.bind(iterator), stop: iterator.return!.bind(iterator) });
      return Object.assign(iterator, { next, return: stop });
    };
  } else if (body instanceof ReadableStream) {
    const open = body.getReader.bind(body) as () => ReadableStreamDefaultReader;
    const getReader = () => {
      const reader = open();
      const { next, stop } = watched({ next: reader.read.bind(reader), stop: reader.cancel.bind(reader) });
      return Object.assign(reader, { read: next, cancel: stop });
    };
    Object.assign(body, { getReader });
  }
}
