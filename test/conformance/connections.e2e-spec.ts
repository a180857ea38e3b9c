import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { ConnectionsController } from './support/connections.controller.js';
import { late } from './support/late.js';
import { encode, RawConnection, type RawRequest, send } from './support/raw-http.js';

describe.each(PLATFORMS)('connections, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [ConnectionsController] });
  });
  afterAll(() => app?.close());

  const to = (path: string, body: object = {}, key: string = randomUUID()): RawRequest => ({
    path: `/connections/${path}`,
    key,
    body,
  });

  /** Sends a request, and goes away once its handler runs, or after so many milliseconds. */
  const abandon = async (request: RawRequest, afterMs?: number) => {
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send(request);
    if (afterMs === undefined) await until(() => countRuns() > before);
    else await sleep(afterMs);
    connection.close();
  };

  /** As a client that retries: until the key is no longer taken. */
  const retry = async (request: RawRequest) => {
    for (;;) {
      const answer = await send(app.port, request);
      if (codeOf(answer) !== 'in-progress') return answer;
      await sleep(30);
    }
  };

  test('a connection is kept alive through runs, replays and problems', async () => {
    const connection = await RawConnection.open(app.port);
    const request = to('value');
    const seen = [];
    for (const one of [request, request, { ...request, key: undefined }, request, to('value')]) {
      connection.send(one);
      const answer = await connection.read();
      seen.push([answer.status, isReplay(answer)]);
    }
    expect(seen).toEqual([
      [201, false],
      [201, true],
      [400, false],
      [201, true],
      [201, false],
    ]);
    connection.close();
  });

  test('pipelined requests are answered in turn', async () => {
    const connection = await RawConnection.open(app.port);
    const requests = [to('value', { ms: 40 }), to('value', { ms: 1 }), to('native', { ms: 10 }), to('file')];
    const before = countRuns();
    for (let n = 0; n < 2; n++) connection.send(Buffer.concat(requests.map(encode)));
    const answers = [];
    for (let n = 0; n < 8; n++) answers.push(await connection.read());
    expect(answers.slice(0, 4).map((answer) => [answer.status, isReplay(answer)])).toEqual(Array(4).fill([201, false]));
    for (const late of answers.slice(4)) expect(isReplay(late) || codeOf(late) === 'in-progress').toBe(true);
    expect(countRuns() - before).toBe(4);
    connection.send(Buffer.concat(requests.map(encode)));
    for (const first of answers.slice(0, 4)) expect(comparable(await connection.read())).toEqual(comparable(first));
    connection.close();
  });

  test('a duplicate while the first runs is refused, with a time to wait', async () => {
    const request = to('value', { held: true });
    const before = countRuns();
    late.hold();
    const first = send(app.port, request);
    await until(() => countRuns() > before);
    const second = await send(app.port, request);
    late.release();
    expect([second.status, codeOf(second)]).toEqual([409, 'in-progress']);
    expect((await first).status).toBe(201);
    expect(comparable(await send(app.port, request))).toEqual(comparable(await first));
    expect(countRuns() - before).toBe(1);
  });

  test('duplicates that wait get the one answer', async () => {
    const request = to('waiting', { ms: 60 });
    const before = countRuns();
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(app.port, request)));
    expect(new Set(answers.map((answer) => JSON.stringify(comparable(answer)))).size).toBe(1);
    expect(answers.filter(isReplay)).toHaveLength(9);
    expect(countRuns() - before).toBe(1);
  });

  test('HTTP/1.0, without keep-alive', async () => {
    const bytes = encode(to('value')).toString('latin1').replace('HTTP/1.1', 'HTTP/1.0');
    const bodies = [];
    for (let n = 0; n < 2; n++) {
      const connection = await RawConnection.open(app.port);
      connection.send(bytes);
      const answer = await connection.read();
      bodies.push(answer.body.toString());
      await connection.closed();
    }
    expect(bodies[0]).toMatch(/^{"id"/);
    expect(bodies[1]).toBe(bodies[0]);
  });

  test('a client that waits for 100 Continue', async () => {
    const request = to('value', { ms: 1 });
    const bytes = encode({ ...request, headers: { Expect: '100-continue' } }).toString();
    const end = bytes.indexOf('\r\n\r\n') + 4;
    const connection = await RawConnection.open(app.port);
    connection.send(bytes.slice(0, end));
    expect(await connection.some()).toMatch(/^HTTP\/1.1 100 Continue/);
    connection.send(bytes.slice(end));
    const first = await connection.read();
    connection.close();
    expect(comparable(await send(app.port, request))).toEqual(comparable(first));
  });

  test.each(['value', 'observable', 'promised', 'native'])(
    '%s: a client that goes away: the outcome is there for its retry',
    async (path) => {
      const request = to(path, { ms: 120 });
      const before = countRuns();
      await abandon(request);
      const answer = await retry(request);
      expect([answer.status, isReplay(answer)]).toEqual([201, true]);
      expect(answer.body.toString()).toMatch(/^{"id"/);
      expect(countRuns() - before).toBe(1);
    },
  );

  test('a client that goes away from a file that was still to be read: never a second run', async () => {
    const request = to('file', { ms: 80 });
    const before = countRuns();
    await abandon(request);
    const answer = await retry(request);
    expect([201, 409]).toContain(answer.status);
    expect(answer.status === 201 ? isReplay(answer) : codeOf(answer) === 'replay-unavailable').toBe(true);
    expect(countRuns() - before).toBe(1);
  });

  test('a client that goes away, and a failure after that: its retry runs', async () => {
    const request = to('failing', { ms: 80 });
    const before = countRuns();
    await abandon(request);
    expect((await retry(request)).status).toBe(500);
    expect(countRuns() - before).toBe(2);
  });

  test.each(['value', 'file'])('%s: a client that goes away before the handler begins', async (kind) => {
    const request = to(`slow-guard/${kind}`);
    const before = countRuns();
    await abandon(request, 40);
    await sleep(500);
    const answer = await retry(request);
    expect(answer.status === 201 ? isReplay(answer) : codeOf(answer) === 'replay-unavailable').toBe(true);
    if (kind === 'value') expect(answer.status).toBe(201);
    expect(countRuns() - before).toBe(1);
  });

  test.each(['silent', 'slow-guard-silent'])(
    '%s: a client that is gone is not answered, and its retry learns why',
    async (path) => {
      const request = to(path, { ms: 500 });
      const before = countRuns();
      await abandon(request, 50);
      await sleep(600);
      const answer = await retry(request);
      expect([answer.status, codeOf(answer), countRuns() - before]).toEqual([409, 'replay-unavailable', 1]);
    },
  );

  test('a client that goes away before an inner interceptor lets it in: its retry runs', async () => {
    const request = to('silent-inside');
    const before = countRuns();
    await abandon(request, 30);
    await sleep(600);
    const answer = await retry(request);
    expect([answer.status, isReplay(answer), countRuns() - before]).toEqual([201, false, 1]);
  });

  test('a client that goes away while a pipe takes its time: the key stays taken', async () => {
    const request = to('slow-pipe');
    const before = countRuns();
    late.hold();
    await abandon(request, 30);
    // It begins after 1.2 s; a second after the client has gone, the library may not conclude that it never will.
    await until(() => countRuns() > before);
    expect(codeOf(await send(app.port, request))).toBe('in-progress');
    late.release();
    const answer = await retry(request);
    expect([answer.status, isReplay(answer), countRuns() - before]).toEqual([201, true, 1]);
  });

  test('a client that goes away once it has its answer', async () => {
    const request = to('value');
    const first = await send(app.port, request);
    expect(comparable(await send(app.port, request))).toEqual(comparable(first));
  });
});
