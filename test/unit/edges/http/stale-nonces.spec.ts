import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { StaleNonces } from '../../../../lib/edges/http/stale-nonces.js';

const PAGE = '<script nonce="stored">go()</script>';
const POLICY = "script-src 'self' 'nonce-fresh'";

afterEach(() => void jest.restoreAllMocks());

/** The warnings about replays of a page, by endpoint. */
function warningsOf(...replays: readonly (readonly [endpoint: string, headers: object, body: Buffer | null])[]) {
  const warnings: string[] = [];
  jest.spyOn(Logger.prototype, 'warn').mockImplementation((line: unknown) => void warnings.push(String(line)));
  const nonces = new StaleNonces();
  for (const [endpoint, headers, body] of replays) {
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string);
    nonces.note(endpoint, response, { code: 200, head: null, body });
  }
  return warnings;
}

const html = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': POLICY };

describe('a replayed page with another nonce than the policy allows', () => {
  test('is named', () => {
    expect(warningsOf(['POST /pages', html, Buffer.from(PAGE)])).toEqual([
      'POST /pages: the Content-Security-Policy of a replay allows another nonce than its stored page uses, so browsers block its ' +
        'scripts. Set that header in the handler, allow the scripts by hash, or redirect to a GET',
    ]);
  });

  test('is named once for each endpoint', () => {
    const body = Buffer.from(PAGE);
    expect(warningsOf(['a', html, body], ['a', html, body], ['b', html, body])).toHaveLength(2);
  });

  test.each([
    [
      'with a policy that only reports',
      { 'content-type': 'text/html', 'content-security-policy-report-only': POLICY },
      PAGE,
    ],
    ['written without quotes', html, '<script nonce=stored>'],
    ['written with single quotes and blanks', html, "<style NONCE = 'stored'>"],
    ['beside one that is allowed', html, `<script nonce="fresh"></script>${PAGE}`],
  ])('is named %s', (_, headers, page) => expect(warningsOf(['a', headers, Buffer.from(page)])).toHaveLength(1));

  test('is found in a compressed page', () => {
    expect(warningsOf(['a', { ...html, 'content-encoding': 'gzip' }, gzipSync(PAGE)])).toHaveLength(1);
  });
});

describe('nothing is said of', () => {
  test.each([
    ['a page whose nonce is allowed', html, '<script nonce="fresh">'],
    ['a page without nonces', html, '<script src="/a.js">'],
    ['a page that only writes about a nonce', html, 'a nonce="stored"'.replace(' ', '-')],
    ['a policy without nonces', { ...html, 'content-security-policy': "script-src 'self'" }, PAGE],
    ['a page without a policy', { 'content-type': 'text/html' }, PAGE],
    ['what is no page', { ...html, 'content-type': 'application/json' }, PAGE],
    ['what has no type', { 'content-security-policy': POLICY }, PAGE],
  ])('%s', (_, headers, page) => expect(warningsOf(['a', headers, Buffer.from(page)])).toEqual([]));

  test('a response without a body', () => expect(warningsOf(['a', html, null])).toEqual([]));
});
