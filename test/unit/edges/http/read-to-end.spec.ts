import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { HandlerCalls } from '../../../../lib/engine/handler-calls.js';
import { readToEnd } from '../../../../lib/edges/http/read-to-end.js';

const connected = { destroyed: false } as ServerResponse;
const gone = { destroyed: true } as ServerResponse;

function begun(value: unknown, response: ServerResponse, isFailure = true): HandlerCalls {
  const calls = new HandlerCalls();
  calls.run(() => value);
  readToEnd(value, response, calls, isFailure);
  return calls;
}

const failing = (reason?: unknown) => new ReadableStream({ pull: (controller) => controller.error(reason) });

describe('a stream that fails', () => {
  // The operation would commit what it had written by then.
  test.each([[undefined], [null], ['text'], [new Error('lost')]])('for the reason %s has failed', async (reason) => {
    const stream = failing(reason);
    const calls = begun(stream, connected);
    await expect(stream.getReader().read()).rejects.toBe(reason);
    expect([calls.state, calls.error]).toEqual(['failed', expect.any(Error)]);
  });

  test('outside of a transaction does not make the operation run again', async () => {
    const stream = failing();
    const calls = begun(stream, connected, false);
    await expect(stream.getReader().read()).rejects.toBeUndefined();
    expect(calls.state).toBe('succeeded');
  });
});

test.each([
  ['gone', gone, ['succeeded', true]],
  ['there', connected, ['failed', false]],
])('a stream that is stopped while its client is %s', async (_where, response, expected) => {
  let read = 0;
  const lines = function* () {
    while (read < 100) yield ++read;
  };
  const stream = Readable.from(lines());
  const calls = begun(stream, response);
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  await iterator.return!();
  await calls.idle();
  expect([calls.state, read === 100]).toEqual(expected);
});
