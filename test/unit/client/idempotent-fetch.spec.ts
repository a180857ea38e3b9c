import { jest } from '@jest/globals';
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  createIdempotentFetch,
  forgetKey,
  idempotentFetch,
  IdempotentFetchError,
  type IdempotentFetchOptions,
  type KeyStorage,
  type Retry,
} from '../../../lib/client/index.js';

interface Sent {
  readonly at: number;
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string;
  readonly init: RequestInit;
}

type Reply = (sent: Sent, signal: AbortSignal) => Response | Error | Promise<Response>;

/** A server with a reply for each request, the last of them for all that follow; the clock is jest's. */
function server(...replies: Reply[]) {
  const sent: Sent[] = [];
  const fetch = async (url: string, init: RequestInit) => {
    const { method, headers, body, signal } = init as {
      method: string;
      headers: Headers;
      body?: Blob;
      signal: AbortSignal;
    };
    const one = {
      at: performance.now(),
      url,
      method,
      headers: new Headers(headers),
      body: (await body?.text()) ?? '',
      init,
    };
    sent.push(one);
    const reply = await replies[Math.min(sent.length, replies.length) - 1](one, signal);
    if (reply instanceof Error) throw reply;
    return reply;
  };
  return {
    sent,
    fetch: fetch as typeof globalThis.fetch,
    keys: () => sent.map(({ headers }) => headers.get('idempotency-key')),
    pauses: () => sent.slice(1).map(({ at }, i) => at - sent[i].at),
  };
}

/** Lets time pass until `work` has come to an end. */
async function done<T>(work: Promise<T>): Promise<T> {
  let over = false;
  work.then(
    () => (over = true),
    () => (over = true),
  );
  for (let i = 0; !over && i < 20_000; i++) {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    if (!over) await jest.advanceTimersByTimeAsync(25);
  }
  return work;
}

const URL_ = 'https://shop.example/payments';
const POST = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"amount":5}' };
const lost = () => new TypeError('fetch failed');
const created = () => new Response('{"id":1}', { status: 201 });
const replayed = () => new Response('{"id":1}', { status: 201, headers: { 'idempotent-replayed': 'true' } });
const plain =
  (status: number, headers: Record<string, string> = {}) =>
  () =>
    new Response('no', { status, headers });
const problem =
  (code: string, status: number, retryable: boolean, headers: Record<string, string> = {}) =>
  () =>
    new Response(JSON.stringify({ code, retryable, status }), {
      status,
      headers: { 'content-type': 'application/problem+json; charset=utf-8', ...headers },
    });
const never: Reply = (_sent, signal) =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
});
afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

const ask = (fetch: typeof globalThis.fetch, options: IdempotentFetchOptions = {}, init: RequestInit = POST) =>
  done(idempotentFetch(URL_, init, { fetch, ...options }));

describe('what is sent again', () => {
  const again: [string, Reply][] = [
    ['a lost connection', lost],
    ['in-progress', problem('in-progress', 409, true, { 'retry-after': '1' })],
    ['store-unavailable', problem('store-unavailable', 503, true, { 'retry-after': '1' })],
    ['outcome-not-recorded', problem('outcome-not-recorded', 503, true)],
    ['a problem of another service that is retryable', problem('busy', 418, true)],
    ['a conflict with Retry-After', plain(409, { 'retry-after': '1' })],
    ...[408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524].map((status): [string, Reply] => [
      String(status),
      plain(status),
    ]),
    [
      'a body that breaks off',
      () => new Response(new ReadableStream({ pull: (c) => c.error(lost()) }), { status: 201 }),
    ],
  ];
  test.each(again)('%s', async (_name, reply) => {
    const { fetch, sent, keys } = server(reply, reply, replayed);
    const result = await ask(fetch);
    expect(result).toMatchObject({ attempts: 3, replayed: true, definitive: true });
    expect(await result.response.json()).toEqual({ id: 1 });
    expect(new Set(keys())).toEqual(new Set([result.key]));
    expect(sent.map(({ method, url, body }) => [method, url, body])).toEqual(Array(3).fill(['POST', URL_, POST.body]));
    expect(sent.map(({ headers }) => headers.get('content-type'))).toEqual(Array(3).fill('application/json'));
  });
});

describe('what is final', () => {
  const settled: [string, Reply][] = [
    ['201', created],
    ['303', plain(303)],
    ['a replay', replayed],
    ['a replay of a failure', plain(503, { 'idempotent-replayed': 'true' })],
    ...[400, 402, 404, 409, 410, 422].map((status): [string, Reply] => [String(status), plain(status)]),
    ['key-missing', problem('key-missing', 400, false)],
    ['key-invalid', problem('key-invalid', 400, false)],
  ];
  const unsettled: [string, Reply][] = [
    ['key-reused', problem('key-reused', 422, false)],
    ['key-foreign', problem('key-foreign', 422, false)],
    ['outcome-unknown', problem('outcome-unknown', 409, false)],
    ['replay-unavailable', problem('replay-unavailable', 409, false)],
    ['record-unreadable', problem('record-unreadable', 500, false)],
    ['a status that would be passing, were it not for the problem', problem('outcome-unknown', 503, false)],
    ['500', plain(500)],
    ['401, which says nothing about earlier attempts', plain(401)],
    ['403', plain(403)],
  ];
  test.each([
    ...settled.map(([name, reply]) => [name, reply, true] as const),
    ...unsettled.map(([name, reply]) => [name, reply, false] as const),
  ])('%s', async (_name, reply, definitive) => {
    const { fetch, sent } = server(reply, created);
    const result = await ask(fetch);
    expect(sent).toHaveLength(1);
    expect(result).toMatchObject({ attempts: 1, definitive });
    // The body is still to be read.
    expect(result.response.bodyUsed).toBe(false);
    expect(await result.response.text()).not.toBe('unread');
  });

  // A gateway has no route during a deployment: after an attempt that may have run, its 404 must not end the key.
  test.each([404, 405])('%d is not, after an attempt that may have run, unless it is a replay', async (status) => {
    const gateway = plain(status);
    for (const first of [lost, plain(502), problem('in-progress', 409, true)]) {
      expect(await ask(server(first, gateway, gateway, replayed).fetch)).toMatchObject({
        attempts: 4,
        definitive: true,
      });
    }
    const lasts = await ask(server(lost, gateway).fetch, { maxAttempts: 4 });
    expect(lasts).toMatchObject({ attempts: 4, definitive: false, response: { status } });
    const outcome = plain(status, { 'idempotent-replayed': 'true' });
    expect(await ask(server(lost, outcome).fetch)).toMatchObject({
      attempts: 2,
      definitive: true,
      response: { status },
    });
    const refusal = problem('not-found', status, false);
    expect(await ask(server(lost, refusal).fetch)).toMatchObject({ attempts: 2, definitive: true });
  });

  // A gateway sends those whose session has ended to a login page. Node shows the redirect, and the next try under a new key paid again.
  test.each([302, 307])('%d is not, after an attempt that may have run, unless it is a replay', async (status) => {
    const manual = { ...POST, redirect: 'manual' } as const;
    const login = plain(status, { location: '/login' });
    expect(await ask(server(lost, login).fetch, {}, manual)).toMatchObject({ attempts: 2, definitive: false });
    const outcome = plain(status, { location: '/thanks', 'idempotent-replayed': 'true' });
    expect(await ask(server(lost, outcome).fetch, {}, manual)).toMatchObject({ attempts: 2, definitive: true });
  });

  // An operation that answered 303 has run, also where the page that it leads to is not on a replica yet. Under a new key, it ran again.
  test.each([400, 404, 410])('%d of the page that a redirect leads to is not', async (status) => {
    const page = () => Object.defineProperty(new Response('no', { status }), 'redirected', { value: true });
    const result = await ask(server(page).fetch, { maxAttempts: 2 });
    expect(result).toMatchObject({ attempts: status === 404 ? 2 : 1, definitive: false });
    const order = () => Object.defineProperty(created(), 'redirected', { value: true });
    expect(await ask(server(order).fetch)).toMatchObject({ attempts: 1, definitive: true });
  });

  test('a redirect that the browser hides is not', async () => {
    const hidden = () => Object.defineProperty(Response.error(), 'type', { value: 'opaqueredirect' });
    const { fetch, sent } = server(hidden, created);
    expect(await ask(fetch)).toMatchObject({ definitive: false });
    expect(sent).toHaveLength(1);
  });

  test('a problem is returned', async () => {
    const { problem: reported } = await ask(server(problem('outcome-unknown', 409, false)).fetch);
    expect(reported).toMatchObject({ code: 'outcome-unknown', retryable: false });
    expect(await ask(server(plain(409)).fetch)).not.toHaveProperty('problem');
  });
});

describe('when it is sent again', () => {
  test.each([
    [0, [100, 200, 400, 800, 800]],
    [0.999999, [200, 400, 800, 1_600, 1_600]],
  ])('doubling pauses, half of them random: %d', async (random, pauses) => {
    jest.spyOn(Math, 'random').mockReturnValue(random);
    const { fetch, pauses: taken } = server(lost, lost, lost, lost, lost, created);
    await ask(fetch, { firstPause: 200, longestPause: 1_600 });
    taken().forEach((pause, i) => {
      expect(pause).toBeGreaterThanOrEqual(pauses[i] - 1);
      expect(pause).toBeLessThanOrEqual(pauses[i] + 50);
    });
    expect(taken()).toHaveLength(pauses.length);
  });

  test.each([
    ['seconds', () => '3'],
    ['a date', () => new Date(Date.now() + 3_900).toUTCString()],
  ])('not before Retry-After: %s', async (_form, value) => {
    const { fetch, pauses } = server(() => problem('in-progress', 409, true, { 'retry-after': value() })(), created);
    await ask(fetch);
    // A date has no milliseconds.
    expect(pauses()[0]).toBeGreaterThanOrEqual(2_900);
    expect(pauses()[0]).toBeLessThanOrEqual(4_300);
  });

  test('a shorter Retry-After does not take the place of the back-off', async () => {
    const { fetch, pauses } = server(plain(429, { 'retry-after': '0' }));
    await ask(fetch, { firstPause: 1_000, longestPause: 8_000, maxAttempts: 5 });
    expect(pauses()[3]).toBeGreaterThanOrEqual(4_000);
  });

  test('onRetry is called for each', async () => {
    const retries: Retry[] = [];
    await ask(server(lost, plain(503), created).fetch, { onRetry: (retry) => retries.push(retry) });
    expect(retries).toMatchObject([
      { attempts: 1, error: { message: 'fetch failed' } },
      { attempts: 2, response: { status: 503 } },
    ]);
    expect(await retries[1].response!.text()).toBe('no');
  });
});

describe('when it is given up', () => {
  test('after so many attempts, with the last answer', async () => {
    const { fetch, sent } = server(problem('in-progress', 409, true, { 'retry-after': '1' }));
    const result = await ask(fetch, { maxAttempts: 3 });
    expect(sent).toHaveLength(3);
    expect(result).toMatchObject({ attempts: 3, definitive: false, problem: { code: 'in-progress' } });
    expect(result.response.status).toBe(409);
  });

  test('after so many attempts, unanswered: an error that has the key', async () => {
    const { fetch, keys } = server(lost);
    const error = await ask(fetch, { maxAttempts: 2 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(IdempotentFetchError);
    expect(error).toMatchObject({ attempts: 2, key: keys()[0], cause: { message: 'fetch failed' } });
    expect((error as Error).message).toContain('POST /payments');
  });

  test('an attempt that takes too long is broken off, and sent again', async () => {
    const { fetch, sent, pauses } = server(never, never, created);
    expect(await ask(fetch, { attemptTimeout: 2_000 })).toMatchObject({ attempts: 3 });
    expect(sent.map(({ init }) => init.signal!.aborted)).toEqual([true, true, false]);
    for (const pause of pauses()) expect(pause).toBeGreaterThanOrEqual(2_000);
  });

  test('at the deadline, in the middle of an attempt', async () => {
    const startedAt = performance.now();
    const { fetch } = server(never);
    const asked = ask(fetch, { deadline: 5_000, attemptTimeout: 60_000 });
    await expect(asked).rejects.toMatchObject({ attempts: 1, cause: { name: 'TimeoutError' } });
    expect(performance.now() - startedAt).toBeLessThan(5_200);
  });

  test('at once, where a pause would outlast the deadline', async () => {
    const startedAt = performance.now();
    const { fetch, sent } = server(problem('store-unavailable', 503, true, { 'retry-after': '99999999999' }));
    expect(await ask(fetch, { deadline: 30_000 })).toMatchObject({ attempts: 1, definitive: false });
    expect(sent).toHaveLength(1);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  const moveDate = (ms: number) => {
    const now = Date.now;
    jest.spyOn(Date, 'now').mockImplementation(() => now() + ms);
  };
  /** As on Linux, macOS and iOS: `performance.now()` and timers stand still while the machine sleeps, and only the date moves on. */
  const sleepOfTheMachine = () => moveDate(25 * 60 * 60_000);

  // The server has forgotten the key by then: the retry of a laptop that was opened the next day ran the operation again.
  test.each<[string, Reply, object]>([
    ['a lost connection', lost, { name: 'IdempotentFetchError', attempts: 1 }],
    ['an answer', plain(503), { definitive: false, attempts: 1 }],
  ])('where the machine has slept during an attempt that ended with %s', async (_name, reply, end) => {
    const { fetch, sent } = server((one, signal) => (sleepOfTheMachine(), reply(one, signal)), created);
    expect(await ask(fetch).catch((error: unknown) => error)).toMatchObject(end);
    expect(sent).toHaveLength(1);
  });

  test('where the machine has slept during a pause', async () => {
    const { fetch, sent } = server(lost, created);
    const error = await ask(fetch, { onRetry: sleepOfTheMachine }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'IdempotentFetchError', attempts: 1 });
    expect(sent).toHaveLength(1);
  });

  test('not later where the clock is set back', async () => {
    const { fetch } = server(() => {
      jest.restoreAllMocks();
      moveDate(-60 * 60_000);
      return lost();
    });
    const startedAt = performance.now();
    await expect(ask(fetch, { maxAttempts: 1_000 })).rejects.toBeInstanceOf(IdempotentFetchError);
    expect(performance.now() - startedAt).toBeLessThanOrEqual(60_000);
  });

  test('a minute by default', async () => {
    const startedAt = performance.now();
    await expect(ask(server(lost).fetch)).rejects.toBeInstanceOf(IdempotentFetchError);
    const took = performance.now() - startedAt;
    expect(took).toBeGreaterThan(25_000);
    expect(took).toBeLessThanOrEqual(60_100);
  });
});

/** Runs `work`, and returns how many of the timers that it has set are left. What another spec file left running may set some, too. */
async function timersLeftBy(work: () => Promise<unknown>): Promise<number> {
  const own = new AsyncLocalStorage<Set<unknown>>();
  const left = new Set<unknown>();
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  jest.spyOn(globalThis, 'setTimeout').mockImplementation(((callback: () => void, ms: number) => {
    const fire = () => {
      left.delete(timer);
      callback();
    };
    const timer = set(fire, ms);
    own.getStore()?.add(timer);
    return timer;
  }) as typeof setTimeout);
  jest.spyOn(globalThis, 'clearTimeout').mockImplementation((timer) => {
    left.delete(timer);
    clear(timer);
  });
  await own.run(left, work);
  return left.size;
}

describe('AbortSignal', () => {
  test.each([
    ['before anything is sent', 0, 0],
    ['during an attempt', 100, 1],
    ['during a pause', 700, 1],
  ])('%s', async (_when, ms, attempts) => {
    const controller = new AbortController();
    const reason = new Error('the user left');
    if (ms === 0) controller.abort(reason);
    else setTimeout(() => controller.abort(reason), ms);
    const first: Reply = (sent, signal) => (ms > 500 ? lost() : never(sent, signal));
    const { fetch, sent } = server(first, created);
    const left = await timersLeftBy(async () => {
      const asked = ask(fetch, { firstPause: 4_000 }, { ...POST, signal: controller.signal });
      await expect(asked).rejects.toBe(reason);
    });
    expect(sent).toHaveLength(attempts);
    expect(left).toBe(0);
  });

  test('of a Request', async () => {
    const controller = new AbortController();
    const { fetch } = server(never);
    setTimeout(() => controller.abort(), 100);
    const request = new Request(URL_, { ...POST, signal: controller.signal });
    await expect(done(idempotentFetch(request, undefined, { fetch }))).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('no listener is left on a signal that lives on', async () => {
    const { signal } = new AbortController();
    const [add, remove] = [jest.spyOn(signal, 'addEventListener'), jest.spyOn(signal, 'removeEventListener')];
    await ask(server(lost, lost, created).fetch, {}, { ...POST, signal });
    // One more is the Request's own.
    expect(remove.mock.calls.length).toBeGreaterThanOrEqual(5);
    expect(add.mock.calls.length - remove.mock.calls.length).toBeLessThanOrEqual(1);
  });
});

describe('bodies', () => {
  const form = () => {
    const data = new FormData();
    data.set('amount', '5');
    data.set('receipt', new Blob(['scan'], { type: 'image/png' }), 'receipt.png');
    return data;
  };
  test.each<[string, RequestInit['body'], RegExp, RegExp]>([
    ['text', 'text', /^text\/plain/, /^text$/],
    ['URLSearchParams', new URLSearchParams({ a: '1' }), /^application\/x-www-form-urlencoded/, /^a=1$/],
    ['FormData', form(), /^multipart\/form-data; boundary=/, /receipt\.png[^]*scan/],
    ['a Blob', new Blob(['blob'], { type: 'text/csv' }), /^text\/csv$/, /^blob$/],
    ['an ArrayBuffer', new TextEncoder().encode('bytes').buffer, /^none$/, /^bytes$/],
    ['a view', new TextEncoder().encode('view'), /^none$/, /^view$/],
    ['none', undefined, /^none$/, /^$/],
    ['an empty one', '', /^text\/plain/, /^$/],
  ])('%s: the same bytes each time', async (_name, body, type, text) => {
    const { fetch, sent } = server(lost, plain(503), created);
    await ask(fetch, {}, { method: 'POST', body });
    expect(sent).toHaveLength(3);
    expect(sent[0].body).toMatch(text);
    expect(sent[0].headers.get('content-type') ?? 'none').toMatch(type);
    expect(new Set(sent.map((one) => one.body)).size).toBe(1);
    expect(new Set(sent.map((one) => one.headers.get('content-type'))).size).toBe(1);
  });

  test('a form that is changed meanwhile', async () => {
    const data = form();
    const { fetch, sent } = server(() => (data.set('amount', '6'), lost()), created);
    await ask(fetch, {}, { method: 'POST', body: data });
    expect(sent[1].body).toBe(sent[0].body);
  });

  test.each([
    ['a ReadableStream', new ReadableStream()],
    ['an async iterable', (async function* () {})()],
  ])('%s is refused, and nothing sent', async (_name, body) => {
    const { fetch, sent } = server(created);
    const asked = ask(fetch, {}, { method: 'POST', body: body as RequestInit['body'], duplex: 'half' } as RequestInit);
    await expect(asked).rejects.toThrow(/a stream can be sent only once/);
    expect(sent).toHaveLength(0);
  });

  test('a Request', async () => {
    const { fetch, sent } = server(lost, created);
    const request = new Request(URL_, { ...POST, method: 'PUT', redirect: 'manual', headers: { 'x-tenant': 'a' } });
    await done(idempotentFetch(request, undefined, { fetch }));
    for (const one of sent) {
      expect(one).toMatchObject({ url: URL_, method: 'PUT', body: POST.body, init: { redirect: 'manual' } });
      expect(one.headers.get('x-tenant')).toBe('a');
    }
    expect(sent).toHaveLength(2);
    await expect(idempotentFetch(request, undefined, { fetch })).rejects.toMatchObject({ name: 'TypeError' });
  });

  // A service worker that adds the key to a form: no attempt left the browser, which makes no request with the mode of a navigation.
  test('the Request of a navigation', async () => {
    const { fetch, sent } = server(created);
    const navigation = Object.defineProperty(new Request(URL_, POST), 'mode', { value: 'navigate' });
    await done(idempotentFetch(navigation, {}, { fetch }));
    expect(sent[0]).toMatchObject({ method: 'POST', init: { mode: 'same-origin' } });
  });

  test('a Request, and what takes its place', async () => {
    const { fetch, sent } = server(created);
    const request = new Request(URL_, POST);
    await done(idempotentFetch(request, { body: 'other', headers: { 'x-a': '1' } }, { fetch }));
    expect(sent[0]).toMatchObject({ method: 'POST', body: 'other' });
    expect(sent[0].headers.get('x-a')).toBe('1');
  });

  test('an event stream is handed on as it comes, and can be aborted', async () => {
    const controller = new AbortController();
    const stream = () => new Response(new ReadableStream(), { headers: { 'content-type': 'text/event-stream' } });
    const { fetch, sent } = server(stream);
    const { response } = await ask(fetch, {}, { ...POST, signal: controller.signal });
    expect(response.bodyUsed).toBe(false);
    controller.abort();
    expect(sent[0].init.signal!.aborted).toBe(true);
  });

  test.each([
    ['not a URL', 'http://', {}],
    ['no-cors', URL_, { method: 'POST', mode: 'no-cors' as const }],
    ['a GET with a body', URL_, { method: 'GET', body: 'x' }],
  ])('refused without a retry: %s', async (_name, url, init) => {
    const { fetch, sent } = server(created);
    await expect(idempotentFetch(url, init, { fetch })).rejects.toMatchObject({ name: 'TypeError' });
    expect(sent).toHaveLength(0);
  });
});

describe('keys', () => {
  test("the option's, the header's, or a new one for each operation", async () => {
    const { fetch, keys } = server(created);
    await ask(fetch, { key: 'mine' });
    await ask(fetch, {}, { ...POST, headers: { 'Idempotency-Key': 'theirs' } });
    await ask(fetch);
    await ask(fetch);
    expect(keys().slice(0, 2)).toEqual(['mine', 'theirs']);
    expect(new Set(keys()).size).toBe(4);
    for (const key of keys().slice(2)) expect(key).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });

  test('under another header', async () => {
    const { fetch, sent } = server(created);
    await done(createIdempotentFetch({ fetch, header: 'X-Request-Key' })(URL_, POST, { key: 'k' }));
    expect(sent[0].headers.get('x-request-key')).toBe('k');
    expect(sent[0].headers.has('idempotency-key')).toBe(false);
  });

  test.each<[string, IdempotentFetchOptions, RequestInit]>([
    ['`key`', { key: '' }, POST],
    ['`storage` and `operation`', { operation: 'pay' }, POST],
    ['`storage` and `operation`', { storage: memory() }, POST],
    ['not several', { key: 'a', storage: memory(), operation: 'pay' }, POST],
    ['not several', { key: 'a' }, { ...POST, headers: { 'idempotency-key': 'b' } }],
    ['`maxAttempts`', { maxAttempts: 0 }, POST],
    ['`deadline`', { deadline: Infinity }, POST],
    ['`attemptTimeout`', { attemptTimeout: Number.NaN }, POST],
    ['`longestPause`', { longestPause: 2 ** 31 }, POST],
  ])('an option that cannot be used is named: %s', async (text, options, init) => {
    const { fetch, sent } = server(created);
    await expect(idempotentFetch(URL_, init, { fetch, ...options })).rejects.toThrow(text);
    expect(sent).toHaveLength(0);
  });
});

/** A storage that outlives "reloads"; asynchronous, where `turns` says so. */
function memory(turns = 0): KeyStorage & { readonly items: Map<string, string> } {
  const items = new Map<string, string>();
  const later = <T>(value: () => T) =>
    turns === 0 ? value() : (new Promise((resolve) => setImmediate(() => resolve(value()))) as T);
  return {
    items,
    getItem: (name) => later(() => items.get(name) ?? null),
    setItem: (name, value) => later(() => void items.set(name, value)),
    removeItem: (name) => later(() => void items.delete(name)),
  };
}

describe.each([0, 1])('a key in storage, %d turns away', (turns) => {
  test('is kept before anything is sent, over failures, and until the answer is definitive', async () => {
    const storage = memory(turns);
    const options = { storage, operation: 'pay', maxAttempts: 2 };
    const kept = () => storage.items.get('idempotency-key:pay');
    const whenSent: (string | undefined)[] = [];
    const note = (reply: Reply): Reply => {
      return (...args) => {
        whenSent.push(kept());
        return reply(...args);
      };
    };
    await expect(ask(server(note(lost)).fetch, options)).rejects.toBeInstanceOf(IdempotentFetchError);
    const key = kept();
    expect(key).toBeDefined();
    for (const reply of [
      plain(500),
      plain(401),
      problem('in-progress', 409, true),
      problem('outcome-unknown', 409, false),
      problem('key-reused', 422, false),
    ]) {
      expect(await ask(server(note(reply)).fetch, options)).toMatchObject({ key, definitive: false });
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    await ask(server(note(never)).fetch, options, { ...POST, signal: controller.signal }).catch(() => undefined);
    expect(await ask(server(note(replayed)).fetch, options)).toMatchObject({ key, definitive: true });
    expect(new Set(whenSent)).toEqual(new Set([key]));
    expect(storage.items.size).toBe(0);
    expect((await ask(server(created).fetch, options)).key).not.toBe(key);
  });

  test('is kept over the 404 of a gateway, if an earlier request with it may have run', async () => {
    const storage = memory(turns);
    const options = { storage, operation: 'pay', maxAttempts: 2 };
    const { key } = (await ask(server(lost).fetch, options).catch((thrown: unknown) => thrown)) as IdempotentFetchError;
    expect(await ask(server(plain(404)).fetch, options)).toMatchObject({ key, definitive: false, attempts: 2 });
    expect(await ask(server(replayed).fetch, options)).toMatchObject({ key, definitive: true });
    // No earlier request had this key.
    expect(await ask(server(plain(404)).fetch, options)).toMatchObject({ definitive: true, attempts: 1 });
    expect(storage.items.size).toBe(0);
    const pay = () => idempotentFetch(URL_, POST, { fetch: server(plain(404)).fetch, ...options });
    const clicks = await done(Promise.all([pay(), pay()]));
    expect(clicks.map(({ definitive }) => definitive)).toEqual([true, false]);
  });

  test('is one for a double click, and another for another operation', async () => {
    const storage = memory(turns);
    const { fetch, keys } = server(created);
    const pay = (operation: string) => idempotentFetch(URL_, POST, { fetch, storage, operation });
    const [a, b, c] = await done(Promise.all([pay('a'), pay('a'), pay('b')]));
    expect(a.key).toBe(b.key);
    expect(c.key).not.toBe(a.key);
    expect(keys()).toHaveLength(3);
    expect(storage.items.size).toBe(0);
  });

  test('is forgotten on demand', async () => {
    const storage = memory(turns);
    const options = { storage, operation: 'pay' };
    const first = await ask(server(problem('outcome-unknown', 409, false)).fetch, options);
    await forgetKey(storage, 'pay');
    expect((await ask(server(created).fetch, options)).key).not.toBe(first.key);
  });
});

describe('a storage that fails', () => {
  test('to keep the key: nothing is sent', async () => {
    const storage = { ...memory(), setItem: () => Promise.reject(new Error('quota')) };
    const { fetch, sent } = server(created);
    await expect(ask(fetch, { storage, operation: 'pay' })).rejects.toThrow('quota');
    expect(sent).toHaveLength(0);
  });

  test('to forget it: the answer is there', async () => {
    const storage = { ...memory(), removeItem: () => Promise.reject(new Error('gone')) };
    expect(await ask(server(created).fetch, { storage, operation: 'pay' })).toMatchObject({ definitive: true });
  });

  test('a key that has taken the place of the answered one stays', async () => {
    const storage = memory();
    const { fetch } = server(() => (storage.items.set('idempotency-key:pay', 'newer'), created()));
    await ask(fetch, { storage, operation: 'pay' });
    expect(storage.items.get('idempotency-key:pay')).toBe('newer');
  });
});
