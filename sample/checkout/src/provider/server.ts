import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChargeRequest, Ledger, LedgerEntry } from './ledger.js';

/**
 * - `ok`: book, answer
 * - `slow`: book, answer after `delayMs`
 * - `fail`: answer 500, book nothing
 * - `drop-answer`: book, cut the connection
 */
const MODES = ['ok', 'slow', 'fail', 'drop-answer'] as const;

interface Behaviour {
  mode: (typeof MODES)[number];
  delayMs: number;
  /** After so many charges, `ok` again. Without it: for good. */
  times?: number;
}

/** A payment provider as small as can be: it books charges, one for each idempotency key, and misbehaves to order. */
export function createProvider(ledger: Ledger, say: (text: string) => void): Server {
  let behaviour: Behaviour = { mode: 'ok', delayMs: 0 };

  function nextBehaviour(): Behaviour {
    const now = behaviour;
    if (now.times !== undefined)
      behaviour = now.times > 1 ? { ...now, times: now.times - 1 } : { mode: 'ok', delayMs: 0 };
    return now;
  }

  async function charge(request: IncomingMessage, response: ServerResponse) {
    const key = request.headers['idempotency-key'];
    if (typeof key !== 'string' || !key) {
      return answer(response, 400, { message: 'Idempotency-Key is missing' });
    }
    const wanted = await readJson<ChargeRequest>(request);
    if (!isChargeRequest(wanted)) {
      return answer(response, 400, { message: 'This is not a charge' });
    }

    const { mode, delayMs } = nextBehaviour();
    if (mode === 'fail') {
      say(`charge for ${short(wanted.reference)}: failing with 500`);
      return answer(response, 500, { message: 'Out of order' });
    }

    const known = ledger.find(key);
    if (known && !isSameCharge(known, wanted)) {
      return answer(response, 422, { message: 'This key has another charge' });
    }
    const entry = known ?? ledger.book(key, wanted);
    const amount = money(entry);
    say(`charge for ${short(entry.reference)}: ` + (known ? `${entry.id} again` : `${entry.id}, ${amount}, booked`));

    if (mode === 'drop-answer') {
      say(`charge for ${short(entry.reference)}: dropping the answer`);
      return request.socket.destroy();
    }
    if (mode === 'slow') await sleep(delayMs);
    answer(response, statusOf(entry, known !== undefined), entry);
  }

  async function setBehaviour(request: IncomingMessage, response: ServerResponse) {
    const wanted = await readJson<Behaviour>(request);
    if (!wanted || !MODES.includes(wanted.mode)) {
      return answer(response, 400, { message: `mode: ${MODES.join(', ')}` });
    }
    behaviour = { mode: wanted.mode, delayMs: Number(wanted.delayMs ?? 0), times: wanted.times };
    say(`from now on: ${inWords(behaviour)}`);
    answer(response, 200, behaviour);
  }

  function find(key: string, response: ServerResponse) {
    const entry = ledger.find(key);
    say(`was asked whether it has charged: ${entry ? `yes, ${entry.id} for ${short(entry.reference)}` : 'no'}`);
    if (!entry) return answer(response, 404, { message: 'No such charge' });
    answer(response, 200, entry);
  }

  async function route(request: IncomingMessage, response: ServerResponse) {
    const { method, url = '/' } = request;
    const [, resource, id] = url.split('/');
    switch (`${method} /${resource}`) {
      case 'POST /charges':
        return charge(request, response);
      case 'GET /charges':
        return find(decodeURIComponent(id ?? ''), response);
      case 'GET /ledger':
        return answer(response, 200, ledger.list());
      case 'DELETE /ledger':
        ledger.clear();
        return answer(response, 200, []);
      case 'PUT /behaviour':
        return setBehaviour(request, response);
      default:
        return answer(response, 404, { message: 'Not found' });
    }
  }

  return createServer((request, response) => {
    route(request, response).catch((error: unknown) => {
      say(`error: ${String(error)}`);
      if (!response.headersSent) answer(response, 500, { message: 'Error' });
    });
  });
}

function statusOf(entry: LedgerEntry, known: boolean): number {
  if (entry.status === 'declined') return 402;
  return known ? 200 : 201;
}

function isChargeRequest(value: ChargeRequest | undefined): value is ChargeRequest {
  return Number.isInteger(value?.amount) && typeof value?.currency === 'string' && typeof value?.reference === 'string';
}

function isSameCharge(a: ChargeRequest, b: ChargeRequest): boolean {
  return a.amount === b.amount && a.currency === b.currency && a.reference === b.reference;
}

async function readJson<T>(request: IncomingMessage): Promise<T | undefined> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

/** As the page writes amounts. */
function money({ amount, currency }: ChargeRequest): string {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(amount / 100);
}

function inWords({ mode, delayMs, times }: Behaviour): string {
  const what = {
    ok: 'answers at once',
    slow: `answers after ${delayMs / 1_000} s`,
    fail: 'answers 500 and charges nothing',
    'drop-answer': 'charges, and cuts the connection before its answer',
  }[mode];
  return times === undefined ? what : `${what}, ${times === 1 ? 'once' : `${times} times`}`;
}

function short(reference: string): string {
  return reference.slice(0, 8);
}
