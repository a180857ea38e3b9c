import { Readable } from 'node:stream';
import { Subscriber } from 'rxjs';
import { PipelinePass } from '../../../../lib/edges/http/pipeline-pass.js';

function passWith(seen: unknown[] = []) {
  return new PipelinePass({} as never, new Subscriber(), {
    onValue: (_, value) => seen.push(['value', value]),
    onError: (pass, error) => {
      pass.advance('ended', 500, false);
      seen.push(['error', error]);
    },
    onComplete: () => seen.push(['complete']),
  });
}

describe('a pass', () => {
  test('reports what the pipeline emits', () => {
    const seen: unknown[] = [];
    const pass = passWith(seen);
    pass.next(1);
    pass.error('failed');
    pass.complete();
    expect(seen).toEqual([['value', 1], ['error', 'failed'], ['complete']]);
  });

  test('begins without a value, a stream or a status', () => {
    const { phase, status, isStream, isGivenUp, isTruncated } = passWith();
    expect({ phase, status, isStream, isGivenUp, isTruncated }).toEqual({
      phase: 'running',
      status: 0,
      isStream: false,
      isGivenUp: false,
      isTruncated: false,
    });
  });

  test('has the status of its first value', () => {
    const pass = passWith();
    pass.advance('emitted', 201, false);
    pass.advance('ended', 500, false);
    expect([pass.phase, pass.status]).toEqual(['ended', 201]);
  });

  test('is given up where something answers for a handler that runs', () => {
    const pass = passWith();
    pass.advance('emitted', 504, true);
    expect(pass.isGivenUp).toBe(true);
  });

  test('is not given up by what runs after its value', () => {
    const pass = passWith();
    pass.advance('emitted', 201, false);
    pass.advance('ended', 201, true);
    pass.unsubscribe();
    expect(pass.isGivenUp).toBe(false);
  });

  test('is given up where the outer interceptors unsubscribe before its value', () => {
    const pass = passWith();
    pass.unsubscribe();
    expect(pass.isGivenUp).toBe(true);
  });

  test('is truncated where its stream was destroyed before its end', async () => {
    const pass = passWith();
    const read = Readable.from(['a']);
    pass.source = read;
    expect(pass.isTruncated).toBe(false);
    await read.toArray();
    read.destroy();
    expect(pass.isTruncated).toBe(false);
    pass.source = Readable.from(['a']);
    pass.source.destroy();
    expect(pass.isTruncated).toBe(true);
  });
});

describe('a promise that an interceptor emits', () => {
  const later = () => new Promise((resolve) => setImmediate(resolve));

  test('counts when it has settled, as Nest waits for it', async () => {
    const seen: unknown[] = [];
    const pass = passWith(seen);
    pass.next(later().then(() => 1));
    pass.next(2);
    pass.complete();
    expect(seen).toEqual([]);
    await later();
    expect(seen).toEqual([['value', 1], ['value', 2], ['complete']]);
  });

  test('and that is rejected is an error of the pass, and its only end', async () => {
    const seen: unknown[] = [];
    const pass = passWith(seen);
    pass.next(Promise.reject(new Error('declined')));
    pass.complete();
    await later();
    expect(seen).toEqual([['error', new Error('declined')]]);
  });
});
