import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { isWebResponse, writeWebResponse } from '../../../../lib/edges/http/web-response.js';

/** What a web Response writes. */
async function writtenBy(web: Response, members: object = {}, mayContinue = true) {
  const chunks: string[] = [];
  let ended = false;
  const to = Object.assign(new ServerResponse(new IncomingMessage(new Socket())), {
    write: (chunk: Uint8Array) => (chunks.push(Buffer.from(chunk).toString()), mayContinue),
    end: () => (ended = true),
    ...members,
  });
  await writeWebResponse(web, to as unknown as ServerResponse);
  return { status: to.statusCode, headers: { ...to.getHeaders() }, body: chunks.join(''), ended };
}

/** A Response as `fetch()` returns it, whose body it has decoded. */
function fetched(headers: Record<string, string>): Response {
  const { body, status } = new Response('decoded');
  return { body, status, headers: new Headers(headers), type: 'basic' } as Response;
}

describe('a web Response', () => {
  test('is one of any realm', () => {
    expect(isWebResponse(new Response())).toBe(true);
    expect(isWebResponse({ [Symbol.toStringTag]: 'Response' })).toBe(true);
  });

  test.each([undefined, null, {}, 'Response', new Request('http://a')])('is not %p', (value) => {
    expect(isWebResponse(value)).toBe(false);
  });

  test('is written with its status, headers and body', async () => {
    const web = new Response('body', { status: 202, headers: { 'X-A': '1', 'Content-Type': 'text/plain' } });
    expect(await writtenBy(web)).toEqual({
      status: 202,
      headers: { 'x-a': '1', 'content-type': 'text/plain' },
      body: 'body',
      ended: true,
    });
  });

  test('without a body ends at once', async () => {
    expect(await writtenBy(new Response(null, { status: 204 }))).toMatchObject({ status: 204, body: '', ended: true });
  });

  test('is written by the method of Express, which completes types', async () => {
    const set: string[][] = [];
    const { headers } = await writtenBy(new Response(null, { headers: { 'X-A': '1' } }), {
      set: (name: string, value: string) => set.push([name, value]),
    });
    expect([set, headers]).toEqual([[['x-a', '1']], {}]);
  });

  test('is read no further where it cannot be stored', async () => {
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        pulls++;
        controller.enqueue(Buffer.from('a'));
        if (pulls === 10) controller.close();
      },
    });
    expect(await writtenBy(new Response(body), {}, false)).toMatchObject({ body: 'a', ended: false });
    expect(pulls).toBeLessThan(10);
  });

  test('of fetch() leaves out the headers of the body that came', async () => {
    const headers = {
      'content-encoding': 'gzip',
      'content-length': '7',
      'x-content-length': '1',
      'content-lengths': '2',
    };
    expect(await writtenBy(fetched(headers))).toMatchObject({
      headers: { 'x-content-length': '1', 'content-lengths': '2' },
      body: 'decoded',
    });
  });

  test('of fetch() keeps the length of a body that was not coded', async () => {
    expect((await writtenBy(fetched({ 'content-length': '7' }))).headers).toEqual({ 'content-length': '7' });
  });

  test('that a handler has made keeps its coding', async () => {
    const web = new Response('x', { headers: { 'content-encoding': 'br', 'content-length': '1' } });
    expect((await writtenBy(web)).headers).toMatchObject({ 'content-encoding': 'br', 'content-length': '1' });
  });
});
