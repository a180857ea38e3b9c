/**
 * Plays a payment provider, in memory: `npm run provider`. Charges and receipts take an idempotency key, transfers do not.
 * `GET /ledger` shows what happened. `PUT /behaviour {"hold":["/receipts"]}` makes it work and not answer, until it is told
 * something else, and `{"fail":["/transfers"]}` makes it work and answer with 500.
 */
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';

interface Answer {
  readonly status: number;
  readonly body: object;
}

/** What was carried out, and how often it was asked for. */
interface Entry {
  readonly path: string;
  readonly key?: string;
  readonly request: Record<string, unknown>;
  readonly answer: Answer;
  requests: number;
}

interface Behaviour {
  readonly hold?: readonly string[];
  readonly fail?: readonly string[];
}

const WITH_KEYS = ['/charges', '/receipts'];
const ledger: Entry[] = [];
const changes = new EventEmitter().setMaxListeners(0);
let behaviour: Behaviour = {};

function carryOut(path: string, key: string | undefined, request: Record<string, unknown>): Answer {
  const known = ledger.find((entry) => key !== undefined && entry.path === path && entry.key === key);
  if (known) {
    known.requests++;
    return known.answer;
  }
  const isDeclined = request.card === 'tok_declined';
  const body = { id: randomUUID(), status: isDeclined ? 'declined' : 'succeeded' };
  const answer = { status: isDeclined ? 402 : 201, body };
  ledger.push({ path, key, request, answer, requests: 1 });
  return answer;
}

async function answer(request: IncomingMessage): Promise<Answer> {
  const path = request.url!;
  switch (`${request.method} ${path}`) {
    case 'GET /ledger':
      return { status: 200, body: ledger };
    case 'PUT /behaviour':
      behaviour = (await json(request)) as Behaviour;
      changes.emit('change');
      return { status: 200, body: {} };
    case 'POST /charges':
    case 'POST /receipts':
    case 'POST /transfers': {
      const key = WITH_KEYS.includes(path) ? request.headers['idempotency-key'] : undefined;
      const answer = carryOut(path, key?.toString(), (await json(request)) as Record<string, unknown>);
      if (behaviour.fail?.includes(path)) return { status: 500, body: {} };
      while (behaviour.hold?.includes(path)) await once(changes, 'change');
      return answer;
    }
    default:
      return { status: 404, body: {} };
  }
}

const server = createServer((request, response) => {
  answer(request).then(
    ({ status, body }) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body)),
    () => response.writeHead(400).end(),
  );
});
server.listen(Number(process.env.PORT ?? 4000));
process.once('SIGTERM', () => process.exit());
