import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Body, Controller, type INestApplication, InternalServerErrorException, Post } from '@nestjs/common';
import { Args, Field, GraphQLModule, Mutation, ObjectType, Query, Resolver } from '@nestjs/graphql';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { codeBlocks } from '../../../scripts/docs/code-blocks.mjs';
import { root } from '../../../scripts/workspace.mjs';
import { IDEMPOTENCY_ENTITIES, Idempotent, IdempotencyModule } from '../../../lib/index.js';
import { installed } from '../../support/installed.mjs';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';
import { readFileSync } from 'node:fs';

/** The libraries of docs/client.md and docs/beyond-http.md, with the settings of these pages, and a network that loses things. */

const FOLDER = join(root, 'test/clients');
const REST = ['axios', 'got', 'ky', 'undici'];
const GRAPHQL = ['apollo', 'urql'];
/** The first run installs the libraries. */
const LIMIT = 180_000;

const calls = new Map<string, number>();
const gates = new Map<string, { readonly opened: Promise<void>; readonly open: () => void }>();

async function run(name: string): Promise<{ id: string }> {
  calls.set(name, (calls.get(name) ?? 0) + 1);
  await gates.get(name)?.opened;
  if (name.startsWith('fails')) throw new InternalServerErrorException();
  return { id: `${name} ${calls.get(name)}` };
}

function close(name: string): void {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  gates.set(name, { opened, open });
}

@Controller('payments')
class PaymentsController {
  @Idempotent()
  @Post()
  pay(@Body('name') name: string) {
    return run(name);
  }
}

@ObjectType()
class Payment {
  @Field()
  id!: string;
}

@Resolver()
class PaymentsResolver {
  @Query(() => String)
  hello() {
    return 'hello';
  }

  @Mutation(() => Payment)
  @Idempotent()
  pay(@Args('name') name: string) {
    return run(name);
  }
}

/** What happens to an attempt on its way. */
type Fate =
  | 'passes'
  | 'its response is lost'
  | 'its response breaks off'
  | 'stays unanswered'
  | '500'
  | '503'
  | 'is cut while it runs';

let database: TestDatabase;
let app: INestApplication;
let proxy: Server;
let clients: ChildProcess;

/** Of the attempts with a key, in order. Those after them pass. */
const fates = new Map<string, Fate[]>();
/** The responses that attempts with a key got, or would have got. */
const attempts = new Map<string, { status?: number; body?: string }[]>();

beforeAll(async () => {
  installed(FOLDER);
  database = await createDatabase('better-sqlite3');
  const module = await Test.createTestingModule({
    imports: [
      TypeOrmModule.forRoot({ ...database.options, entities: [...IDEMPOTENCY_ENTITIES], synchronize: true }),
      GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true }),
      IdempotencyModule.forRoot(),
    ],
    controllers: [PaymentsController],
    providers: [PaymentsResolver],
  }).compile();
  app = module.createNestApplication({ logger: false });
  await app.listen(0, '127.0.0.1');
  const target = await app.getUrl();

  proxy = createServer((incoming, outgoing) => {
    const key = String(incoming.headers['idempotency-key']);
    const before = attempts.get(key) ?? [];
    const attempt: { status?: number; body?: string } = {};
    attempts.set(key, [...before, attempt]);
    const fate = fates.get(key)?.[before.length] ?? 'passes';
    if (fate === '500' || fate === '503') {
      return void incoming.resume().on('end', () => outgoing.writeHead(Number(fate), { 'retry-after': '1' }).end());
    }
    const { method, headers } = incoming;
    const forwarded = request(`${target}${incoming.url}`, { method, headers, agent: false }, (response) => {
      void response.toArray().then((chunks: Buffer[]) => {
        const body = Buffer.concat(chunks);
        Object.assign(attempt, { status: response.statusCode, body: body.toString() });
        if (attempt.body?.includes('in-progress')) gates.get(key)?.open();
        if (fate === 'stays unanswered' || fate === 'is cut while it runs') return;
        if (fate === 'its response is lost') return incoming.socket.destroy();
        outgoing.writeHead(response.statusCode!, { ...response.headers, connection: 'close' });
        if (fate === 'passes') return outgoing.end(body);
        return outgoing.write(body.subarray(0, 1), () => incoming.socket.destroy());
      });
    });
    incoming.pipe(forwarded);
    if (fate === 'is cut while it runs') void until(() => calls.has(key)).then(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  clients = fork(join(FOLDER, 'main.mjs'));
}, LIMIT);

afterAll(async () => {
  clients?.kill();
  proxy?.closeAllConnections();
  await new Promise((resolve) => proxy?.close(resolve));
  await app?.close();
  await database?.drop();
});

const urlOf = (library: string) =>
  `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/${REST.includes(library) ? 'payments' : 'graphql'}`;

/** Pays with a library. The name of a payment is its key. */
function pay(library: string, name: string, timeout = 10_000): Promise<{ value?: { id: string }; error?: string }> {
  return new Promise((resolve) => {
    const onMessage = (message: { id: string; value?: { id: string }; error?: string }) => {
      if (message.id !== name) return;
      clients.off('message', onMessage);
      resolve(message);
    };
    clients.on('message', onMessage);
    clients.send({ id: name, library, args: [urlOf(library), { name }, name, timeout] });
  });
}

const nameOf = (library: string, prefix = '') => `${prefix}${library}-${randomUUID()}`;

test.each<[Fate, readonly string[]]>([
  ['its response is lost', [...REST, ...GRAPHQL]],
  ['its response breaks off', ['axios', 'got']],
  ['stays unanswered', REST],
  ['503', [...REST, ...GRAPHQL]],
  ['is cut while it runs', [...REST, ...GRAPHQL]],
])('the first attempt %s: each library ends with the outcome of the only run', async (fate, libraries) => {
  const paid = libraries.map(async (library) => {
    const name = nameOf(library);
    fates.set(name, [fate]);
    if (fate === 'is cut while it runs') close(name);
    const { value, error } = await pay(library, name, fate === 'stays unanswered' ? 1_500 : undefined);
    return {
      library,
      error,
      id: value?.id.replace(name, '').trim(),
      runs: calls.get(name),
      retried: attempts.get(name)!.length > 1,
    };
  });
  expect(await Promise.all(paid)).toEqual(
    libraries.map((library) => ({ library, error: undefined, id: '1', runs: 1, retried: true })),
  );
});

test('a handler that failed, a key that was used, and a 500, end it at the first attempt', async () => {
  const refused = [...REST, ...GRAPHQL].map(async (library) => {
    const names = [nameOf(library, 'fails-'), nameOf(library), nameOf(library)];
    const [failing, used, broken] = names;
    fates.set(broken, ['500']);
    const body = GRAPHQL.includes(library)
      ? { query: 'mutation { pay(name: "another") { id } }' }
      : { name: 'another' };
    const path = new URL(urlOf(library)).pathname;
    await call(`${await app.getUrl()}${path}`, { key: used, body });
    const ends = await Promise.all(names.map((name) => pay(library, name)));
    return {
      library,
      errors: ends.map(({ error }) => typeof error),
      attempts: names.map((name) => attempts.get(name)!.length),
      runs: calls.get(failing),
    };
  });
  expect(await Promise.all(refused)).toEqual(
    [...REST, ...GRAPHQL].map((library) => ({
      library,
      errors: ['string', 'string', 'string'],
      attempts: [1, 1, 1],
      runs: 1,
    })),
  );
});

test.each([
  ['docs/client.md', REST],
  ['docs/beyond-http.md', GRAPHQL],
])('%s shows the files of test/clients as they are', (page, libraries) => {
  const shown = codeBlocks(page).filter(({ language, title }) => language === 'js' && title);
  expect(shown.map(({ title }) => title)).toEqual(libraries.map((library) => `${library}.js`));
  for (const { title = '', code } of shown) expect(`${code}\n`).toBe(readFileSync(join(FOLDER, title), 'utf8'));
});
