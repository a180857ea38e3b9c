import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { headSince, packHead, type ResponseHead, unpackHead } from '../../../../lib/edges/content/response-head.js';
import {
  resetHeaders,
  setProblemHeaders,
  writeOutcome,
  writeProblem,
} from '../../../../lib/edges/http/write-response.js';
import {
  IdempotencyInProgressException,
  IdempotencyKeyMissingException,
  type IdempotencyProblem,
} from '../../../../lib/index.js';

function aResponse(headers: Record<string, string> = {}) {
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  const response = new ServerResponse(request);
  const bodies: unknown[] = [];
  response.end = ((body: unknown) => (bodies.push(body), response)) as typeof response.end;
  return { response, bodies };
}

const NOTHING = { maxBytes: 1_000, include: undefined, exclude: new Set<string>() };

describe('what is kept of a head', () => {
  it('is what was set since, as it was spelt', () => {
    const { response } = aResponse();
    response.setHeader('X-Before', '1');
    response.setHeader('X-Changed', '1');
    response.setHeader('X-Number', 1);
    const before = { ...response.getHeaders() };
    response.setHeader('X-Changed', '2');
    response.setHeader('X-New', ['a', 'b']);
    response.setHeader('Content-Length', 7);
    expect(headSince(response, before, NOTHING)).toEqual({
      headers: [
        ['X-Changed', '2'],
        ['X-New', ['a', 'b']],
        ['Content-Length', '7'],
      ],
    });
  });

  it('is never what belongs to one caller or one connection', () => {
    const { response } = aResponse();
    const never = ['Set-Cookie', 'Authorization', 'Cookie', 'Connection', 'Keep-Alive', 'Proxy-Authenticate', 'TE'];
    for (const name of [...never, 'Proxy-Authorization', 'Proxy-Connection', 'Trailer', 'Upgrade', 'Date']) {
      response.setHeader(name, 'x');
    }
    response.setHeader('Transfer-Encoding', 'chunked');
    expect(headSince(response, {}, NOTHING)).toEqual({ headers: [] });
  });

  it('is what the options say', () => {
    const { response } = aResponse();
    response.setHeader('X-A', '1');
    response.setHeader('X-B', '2');
    expect(headSince(response, {}, { ...NOTHING, include: new Set(['x-a']) }).headers).toEqual([['X-A', '1']]);
    expect(headSince(response, {}, { ...NOTHING, exclude: new Set(['x-a']) }).headers).toEqual([['X-B', '2']]);
  });

  it('reports what was removed, and a message of its own', () => {
    const { response } = aResponse();
    response.statusMessage = 'Taken';
    response.setHeader('X-Stays', '1');
    const before = { 'x-stays': '1', 'x-gone': '1', 'set-cookie': ['a'] };
    expect(headSince(response, before, NOTHING)).toEqual({ headers: [], removed: ['x-gone'], statusMessage: 'Taken' });
  });

  it('comes back as it was', () => {
    const head: ResponseHead = { headers: [['X-A', ['1', '2']]], removed: ['x'], statusMessage: 'Taken' };
    expect(unpackHead(packHead(head))).toEqual(head);
    expect(unpackHead(null)).toEqual({ headers: [] });
  });
});

describe('a replay', () => {
  it('has the status, the head and the body', () => {
    const { response, bodies } = aResponse();
    response.setHeader('X-Gone', '1');
    response.setHeader('X-Kept', '1');
    const head = packHead({ headers: [['X-A', '1']], removed: ['x-gone'], statusMessage: 'Taken' });
    writeOutcome(response, { code: 201, head, body: Buffer.from('paid') });
    expect(response).toMatchObject({ statusCode: 201, statusMessage: 'Taken' });
    expect(response.getHeaders()).toEqual({ 'x-kept': '1', 'x-a': '1', 'idempotent-replayed': 'true' });
    expect(bodies).toEqual([Buffer.from('paid')]);
  });

  it('may have neither head nor body', () => {
    const { response, bodies } = aResponse();
    writeOutcome(response, { code: 204, head: null, body: null });
    expect(response.statusCode).toBe(204);
    expect(response.statusMessage).toBeUndefined();
    expect(bodies).toEqual([undefined]);
  });

  const body = gzipSync('paid');
  const compressed = (more: [string, string][] = []) => ({
    code: 200,
    head: packHead({ headers: [['Content-Encoding', 'gzip'], ...more] }),
    body,
  });

  it('is compressed for clients that accept that', () => {
    const { response, bodies } = aResponse({ 'accept-encoding': 'gzip' });
    writeOutcome(response, compressed([['ETag', '"1"']]));
    expect(bodies).toEqual([body]);
    expect(response.getHeaders()).toMatchObject({ 'content-encoding': 'gzip', etag: '"1"' });
  });

  it('is decompressed for others, and says so', () => {
    const { response, bodies } = aResponse();
    writeOutcome(
      response,
      compressed([
        ['Content-Length', `${body.length}`],
        ['ETag', '"1"'],
      ]),
    );
    expect(bodies).toEqual([Buffer.from('paid')]);
    expect(response.getHeaders()).toEqual({ 'content-length': 4, etag: 'W/"1"', 'idempotent-replayed': 'true' });
  });

  it('has no length where it had none, and a weak name stays as it is', () => {
    const { response } = aResponse();
    writeOutcome(response, compressed([['ETag', 'W/"1"']]));
    expect(response.getHeaders()).toEqual({ etag: 'W/"1"', 'idempotent-replayed': 'true' });
  });
});

it('a body without a coding is sent as it is, and one that is not what it says it is, too', () => {
  const { response, bodies } = aResponse({ 'accept-encoding': 'identity' });
  const body = Buffer.from('not compressed');
  writeOutcome(response, { code: 200, head: packHead({ headers: [['X-A', '1']] }), body });
  writeOutcome(response, { code: 200, head: packHead({ headers: [['Content-Encoding', 'gzip']] }), body });
  expect(bodies).toEqual([body, body]);
  expect(response.getHeader('content-encoding')).toBe('gzip');
});

it('a problem is written with its status', () => {
  const { response, bodies } = aResponse();
  const problem = new IdempotencyKeyMissingException();
  writeProblem(response, problem);
  expect(response.statusCode).toBe(400);
  expect(response.getHeader('content-type')).toBe('application/problem+json; charset=utf-8');
  expect(JSON.parse(bodies[0] as string)).toMatchObject({ code: 'key-missing', status: 400 });
});

it('headers go back to what they were', () => {
  const { response } = aResponse();
  response.setHeader('X-A', '1');
  const before = { ...response.getHeaders(), 'x-gone': '1', 'x-none': undefined };
  response.setHeader('X-A', '2');
  response.setHeader('X-New', '1');
  resetHeaders(response, before);
  expect(response.getHeaders()).toEqual({ 'x-a': '1', 'x-gone': '1' });
});

it('a problem says when to retry, and where it is explained', () => {
  const headersOf = (problem: IdempotencyProblem) => {
    const headers: Record<string, string> = {};
    setProblemHeaders(problem, { setHeader: (name, value) => (headers[name] = value), removeHeader: () => undefined });
    return headers;
  };
  const type = { 'Content-Type': 'application/problem+json; charset=utf-8' };
  expect(headersOf(new IdempotencyKeyMissingException())).toEqual(type);
  const documentation = 'https://example.org/problems';
  const problem = new IdempotencyInProgressException({ documentation, retryAfter: 2 });
  expect(headersOf(problem)).toEqual({ ...type, Link: `<${documentation}>; rel="describedby"`, 'Retry-After': '2' });
});
