import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type CanActivate, type ExecutionContext, Injectable, UseGuards } from '@nestjs/common';
import { Args, GraphQLModule, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import { Idempotent } from '../../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from '../../conformance/support/app.js';
import { call } from '../../support/http-client.js';

interface Request {
  readonly headers: Record<string, string | undefined>;
  user?: unknown;
  auth?: unknown;
}

@Injectable()
class CallersGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { req } = context.getArgByIndex<{ req: Request }>(2);
    for (const name of ['user', 'auth'] as const) {
      const text = req.headers[`x-${name}`];
      if (text !== undefined) req[name] = JSON.parse(text) as unknown;
    }
    return true;
  }
}

let runs = 0;

@Idempotent()
@Resolver()
class CallersResolver {
  @Query(() => Int)
  count() {
    return runs;
  }

  @UseGuards(CallersGuard)
  @Mutation(() => Int)
  pay(@Args('name') _name: string) {
    return ++runs;
  }

  @Mutation(() => Int)
  open() {
    return ++runs;
  }
}

describe.each(PLATFORMS)('callers of mutations, on %s', (platform) => {
  let app: RunningApp;
  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true })],
      providers: [CallersResolver],
      options: { credentials: { headers: ['X-API-Key'], cookies: ['sid'] } },
    });
  });
  afterAll(() => app?.close());

  const PAY = 'mutation { pay(name: "x") }';

  async function ask(key: string, headers: Record<string, string>, query = PAY): Promise<string> {
    const { body } = await call(`http://127.0.0.1:${app.port}/graphql`, { key, headers, body: { query } });
    const { data, errors } = JSON.parse(body) as {
      data: Record<string, number> | null;
      errors?: { message: string; extensions: { code: string } }[];
    };
    return errors ? `${errors[0].extensions.code}` : JSON.stringify(data);
  }

  const user = (value: unknown, more = {}) => ({ 'x-user': JSON.stringify(value), ...more });
  const auth = (value: unknown, more = {}) => ({ 'x-auth': JSON.stringify(value), ...more });

  test.each([
    ['userId', user({ userId: 1 }), user({ userId: 2 }), 'two'],
    ['an issuer', user({ sub: 'a', iss: 'i' }), user({ sub: 'a', iss: 'j' }), 'two'],
    ['one user with two tokens', user({ _id: 1 }, { 'x-api-key': 'a' }), user({ _id: 1 }, { 'x-api-key': 'b' }), 'one'],
    ['claims', auth({ sub: 'a' }), auth({ sub: 'b' }), 'two'],
    ['claims in two tokens', auth({ sub: 'a' }, { 'x-api-key': 'a' }), auth({ sub: 'a' }, { 'x-api-key': 'b' }), 'one'],
    ['an API key', { 'x-api-key': 'a' }, { 'x-api-key': 'b' }, 'key-foreign'],
    ['a cookie', { cookie: 'sid=a' }, { cookie: 'sid=b' }, 'key-foreign'],
    ['one cookie', { cookie: 'sid=a' }, { cookie: 'x=1; sid=a' }, 'one'],
  ])('by %s', async (what, one, other, expected) => {
    const key = `${platform}-${what.replaceAll(' ', '-')}`;
    const [first, second] = [await ask(key, one as never), await ask(key, other as never)];
    expect(first).toContain('pay');
    expect(second.includes('pay') ? (second === first ? 'one' : 'two') : second).toBe(expected);
  });

  test('a user without an id: the error names what it found and the mutation', async () => {
    const { body } = await call(`http://127.0.0.1:${app.port}/graphql`, {
      key: 'no-user',
      headers: user({ username: 'ann' }),
      body: { query: PAY },
    });
    expect(body).toContain('MUTATION pay: idempotency cannot tell callers apart: request.user has \\"username\\"');
  });

  test('cookies that nothing is made of are warned of once, whatever the client calls the field', async () => {
    for (const name of ['a', 'b']) await ask(name, { cookie: 'x=1' }, `mutation { ${name}: open }`);
    expect(app.log.lines.filter((line) => line.includes('share their keys'))).toEqual([
      expect.stringMatching(/^WARN MUTATION open: .*`credentials\.cookies`/),
    ]);
  });
});
