import type { ServerResponse } from 'node:http';
import { dropProblem, keepProblem, noteFiltered } from '../../../../lib/edges/http/kept-problem.js';
import { writeHandlerOf } from '../../../../lib/edges/http/response-interceptor.js';
import { IdempotencyInProgressException, IdempotencyKeyMissingException } from '../../../../lib/index.js';
import { responses } from './support.js';

const { answerTo } = responses();

const PROBLEM = new IdempotencyKeyMissingException();

/** What a client gets where `work` writes a response to a request that was refused. */
async function refusedTo(work: (response: ServerResponse) => unknown, problem = PROBLEM) {
  const { status, headers, body } = await answerTo((response) => {
    keepProblem(response, problem);
    return work(response);
  });
  return { status, type: headers['content-type'], body, headers };
}

const asProblem = {
  status: 400,
  type: 'application/problem+json; charset=utf-8',
  body: JSON.stringify(PROBLEM.getResponse()),
};

describe('a refusal that an outer interceptor turns into a success', () => {
  test.each<[string, (response: ServerResponse) => unknown]>([
    ['at its end', (response) => response.end('{"ok":true}')],
    ['by a head', (response) => (response.writeHead(200, { 'X-A': '1' }), response.end('ok'))],
    ['in chunks', (response) => (response.write('o'), response.end('k'))],
    ['by its headers alone', (response) => (response.flushHeaders(), response.end('ok'))],
  ])('is sent as a refusal, whatever is written %s', async (_, work) => {
    const { headers, ...answer } = await refusedTo(work);
    expect(answer).toEqual(asProblem);
    expect(headers['x-a']).toBeUndefined();
  });

  test('says that a chunk was taken', async () => {
    await refusedTo((response) => expect(response.write('a')).toBe(true));
  });

  test('keeps headers, except those that describe the other body', async () => {
    const { headers, body } = await refusedTo((response) => {
      response.setHeader('X-Trace', '1');
      response.setHeader('Content-Length', 2);
      response.setHeader('Content-Encoding', 'gzip');
      response.setHeader('ETag', '"a"');
      response.setHeader('Transfer-Encoding', 'chunked');
      response.end('ok');
    });
    expect(headers).toMatchObject({ 'x-trace': '1', 'content-length': String(asProblem.body.length) });
    for (const name of ['content-encoding', 'etag', 'transfer-encoding']) expect(headers[name]).toBeUndefined();
    expect(body).toBe(asProblem.body);
  });

  test('says when to retry', async () => {
    const { status, headers } = await refusedTo(
      (response) => response.end(),
      new IdempotencyInProgressException() as never,
    );
    expect([status, headers['retry-after']]).toEqual([409, '1']);
  });
});

describe('a refusal that an exception filter has seen', () => {
  const filtered = () => {
    const problem = new IdempotencyKeyMissingException();
    noteFiltered(problem);
    return problem;
  };

  test.each<[string, (response: ServerResponse) => unknown]>([
    ['at its end', (response) => response.end('mine')],
    ['by a head', (response) => (response.writeHead(418), response.end('mine'))],
    ['in chunks', (response) => (response.write('mi'), response.end('ne'))],
    ['by its headers first', (response) => (response.flushHeaders(), response.end('mine'))],
  ])('is sent as the filter writes it %s', async (_, work) => {
    const { status, body } = await refusedTo((response) => {
      response.statusCode = 418;
      return work(response);
    }, filtered());
    expect({ status, body }).toEqual({ status: 418, body: 'mine' });
  });
});

describe('a refusal of a request that is admitted again', () => {
  test('is dropped', async () => {
    const { status, body } = await refusedTo((response) => {
      dropProblem(response);
      response.end('ran');
    });
    expect({ status, body }).toEqual({ status: 200, body: 'ran' });
  });

  test('leaves what else holds the response', async () => {
    await answerTo((response) => {
      dropProblem(response);
      expect(writeHandlerOf(response)).toBeUndefined();
      response.end();
    });
  });
});
