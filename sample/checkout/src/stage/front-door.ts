import { createServer, type IncomingMessage, request as send, type Server, type ServerResponse } from 'node:http';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { config } from '../config.js';
import { play } from './play.js';
import type { Items } from './scene.js';
import type { ShopProcess } from './shop-process.js';
import type { Stage } from './stage.js';
import type { Trouble } from './trouble.js';
import { TROUBLES } from './troubles/index.js';

const SAMPLE = join(import.meta.dirname, '..', '..');
const PUBLIC = join(SAMPLE, 'public');
/** The endpoint with `@Idempotent()`, and the one without: the page links to them. */
const CODE = ['checkout.controller.ts', 'unprotected-checkout.controller.ts'];

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ts': 'text/plain; charset=utf-8',
};

const PAGE_HEADERS = {
  'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
};

const LARGEST_BODY = 64 * 1024;

/**
 * What the browser talks to: the page, the stage's controls under `/stage`, and for everything else the shops, in turn,
 * as behind a load balancer. To be bound to 127.0.0.1: whoever reaches it can kill processes.
 */
export function createFrontDoor(stage: Stage): Server {
  const files = new Map(
    readdirSync(PUBLIC).map((name) => [name === 'index.html' ? '/' : `/${name}`, readFileSync(join(PUBLIC, name))]),
  );
  for (const name of CODE) files.set(`/${name}`, readFileSync(join(SAMPLE, 'src', 'checkout', name)));
  let turn = 0;
  let playing: Promise<void> | undefined;

  function page(path: string, response: ServerResponse): boolean {
    const file = files.get(path);
    if (!file) return false;
    response.writeHead(200, { ...PAGE_HEADERS, 'Content-Type': TYPES[extname(path) || '.html'] });
    response.end(file);
    return true;
  }

  async function control(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOwnPage(request)) return answer(response, 403, { message: 'Only the page itself may do this' });
    switch (`${request.method} ${path}`) {
      case 'GET /stage/live':
        return stage.live.join(response, { troubles: TROUBLES.map(viewOf), ...(await stage.greeting()) });
      case 'POST /stage/troubles': {
        const { trouble: id, items, protection } = await readJson<Wanted>(request);
        const trouble = TROUBLES.find((one) => one.id === id);
        if (!trouble || whyNot(trouble)) return answer(response, 404, { message: 'There is no such trouble here' });
        if (playing) return answer(response, 409, { message: 'One trouble at a time' });
        playing = play(stage, trouble, items, protection).finally(() => (playing = undefined));
        return answer(response, 202, stage.run);
      }
      case 'POST /stage/start-over':
        if (playing) return answer(response, 409, { message: 'A trouble is being played' });
        await stage.startOver();
        return answer(response, 200, {});
      default:
        return answer(response, 404, { message: 'Not found' });
    }
  }

  function viewOf(trouble: Trouble) {
    const { id, title, about } = trouble;
    return { id, title, about, unavailable: whyNot(trouble) };
  }

  function whyNot({ needs }: Trouble): string | undefined {
    if (needs === 'redis') return stage.whyNoRedis;
    if (needs === 'signals' && process.platform === 'win32') return 'Windows cannot stop a process and let it go on.';
    return undefined;
  }

  function pass(request: IncomingMessage, response: ServerResponse): void {
    const open = stage.shops.filter(({ state }) => state === 'running');
    const shop: ShopProcess | undefined = open[turn++ % (open.length || 1)];
    if (!shop) return answer(response, 503, { message: 'No shop is open' });
    const { method, url, headers } = request;
    const onward = send({ host: '127.0.0.1', port: shop.port, method, path: url, headers }, (reply) => {
      response.writeHead(reply.statusCode!, reply.headers);
      reply.pipe(response);
      reply.once('error', () => response.destroy());
    });
    onward.once('error', () => {
      if (response.headersSent) response.destroy();
      else answer(response, 502, { message: `${shop.name} did not answer` });
    });
    request.pipe(onward);
  }

  return createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0]!;
    if (request.method === 'GET' && page(path, response)) return;
    if (!path.startsWith('/stage/')) return pass(request, response);
    control(path, request, response).catch((error: unknown) => {
      if (!response.headersSent) answer(response, 400, { message: String(error) });
    });
  });
}

interface Wanted {
  trouble: string;
  items: Items;
  protection: boolean;
}

/** No other site that the browser has open, under whatever name it reaches this machine. */
function isOwnPage({ headers, method }: IncomingMessage): boolean {
  const own = ['localhost', '127.0.0.1'].map((host) => `${host}:${config.port}`);
  if (!own.includes(headers.host ?? '')) return false;
  return method === 'GET' || own.some((host) => headers.origin === `http://${host}`);
}

async function readJson<T>(request: IncomingMessage): Promise<T> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk;
    if (text.length > LARGEST_BODY) throw new Error('Too large');
  }
  return JSON.parse(text) as T;
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json', 'X-Content-Type-Options': 'nosniff' });
  response.end(`${JSON.stringify(body)}\n`);
}
