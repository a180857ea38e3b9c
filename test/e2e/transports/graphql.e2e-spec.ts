import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  type CanActivate,
  ConflictException,
  type ExecutionContext,
  Injectable,
  Module,
  type NestInterceptor,
  ParseIntPipe,
  type PipeTransform,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import {
  Args,
  Field,
  GraphQLISODateTime,
  GraphQLModule,
  Int,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { GraphQLError } from 'graphql';
import { lastValueFrom, merge, of, Subject, take } from 'rxjs';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotencyKey,
  IdempotencyModule,
  IdempotencyService,
  IdempotentExecution,
} from '../../../lib/index.js';
import { type RunningApp, startApp } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

const runs = new Map<string, number>();
const gates = new Map<string, Promise<void>>();
let open: () => void;
const ran = (name: string) => runs.get(name) ?? 0;

function run(name: string): number {
  runs.set(name, ran(name) + 1);
  return ran(name);
}

@Entity('graphql_effect')
class Effect {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) name!: string;
}

@ObjectType()
class Payment {
  @Field() name!: string;
  @Field(() => Int) amount!: number;
  @Field(() => Int) run!: number;
  @Field(() => GraphQLISODateTime) at!: Date;
  @Field(() => String, { nullable: true }) key?: string;
}

@Injectable()
class UserGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { req } = context.getArgByIndex<{ req: { headers: Record<string, string>; user?: object } }>(2);
    if (req.headers['x-user']) req.user = { id: req.headers['x-user'] };
    return req.headers['x-user'] !== 'revoked';
  }
}

let openPipe: (() => void) | undefined;
const gatedPipe: PipeTransform = {
  transform: (value: unknown) => new Promise((resolve) => (openPipe = () => resolve(value))),
};

/** Lets the interceptors of requests give up, in the order in which these came. */
const giveUps: (() => void)[] = [];
const impatient: NestInterceptor = {
  intercept: (_context, next) => {
    const givenUp = new Subject<never>();
    giveUps.push(() => givenUp.error(new Error('given up')));
    return merge(next.handle(), givenUp).pipe(take(1));
  },
};

/** As one that begins a transaction for each request: it emits the promise of its work, for which Nest waits. */
const promising: NestInterceptor = { intercept: (_context, next) => of(lastValueFrom(next.handle())) };

@Resolver(() => Payment)
@UseGuards(UserGuard)
class PaymentsResolver {
  constructor(
    private readonly dataSource: DataSource,
    private readonly idempotency: IdempotencyService,
  ) {}

  @Mutation(() => Payment)
  @Idempotent()
  async pay(
    @Args('name') name: string,
    @Args('amount', { type: () => Int }) amount: number,
    @Args('dueAt', { type: () => GraphQLISODateTime, nullable: true }) _dueAt: Date | undefined,
    @IdempotencyKey() key: string,
    @IdempotentExecution() execution: Execution,
  ): Promise<Payment> {
    if (this.idempotency.currentExecution() !== execution) throw new Error('not the current execution');
    await sleep(30);
    return { name, amount, run: run(name), at: new Date(0), key };
  }

  @Mutation(() => Int)
  @Idempotent({ onConflict: 'wait' })
  async wait(@Args('name') name: string) {
    await (gates.get(name) ?? sleep(150));
    return of(run(name));
  }

  @Mutation(() => Int, { name: 'withdraw' })
  @Idempotent({
    key: (context) => context.getArgByIndex<{ key?: string }>(1).key,
    fingerprint: { ignore: ['/sentAt'] },
  })
  takeOut(
    @Args('key', { nullable: true }) _key: string,
    @Args('amount', { type: () => Int }, ParseIntPipe) amount: number,
    @Args('sentAt', { type: () => Int, nullable: true }) _sentAt: number,
  ): number {
    return amount + run('withdraw');
  }

  @Mutation(() => Int)
  @Idempotent()
  fail(@Args('name') name: string): number {
    const count = run(name);
    switch (name) {
      case 'conflict':
        throw new ConflictException(`taken ${count}`);
      case 'declined':
        throw new GraphQLError(`declined ${count}`, { extensions: { code: 'CARD_DECLINED', run: count } });
      default:
        throw new Error(`broken ${count}`);
    }
  }

  @Mutation(() => Int)
  @Idempotent({ transactional: true })
  async transfer(@Args('name') name: string, @IdempotentExecution() execution: Execution): Promise<number> {
    const count = run(name);
    await execution.manager.insert(Effect, { id: `${name}-${count}`, name });
    if (name === 'rolled back' && count === 1) throw new Error('after the write');
    return count;
  }

  /** GraphQL takes an error that a resolver returns for one that it throws. */
  @Mutation(() => Int)
  @Idempotent({ transactional: true })
  async returned(@Args('name') name: string, @IdempotentExecution() execution: Execution) {
    const count = run(name);
    await execution.manager.insert(Effect, { id: `${name}-${count}`, name });
    if (name === 'returned-code')
      return new GraphQLError(`declined ${count}`, { extensions: { code: 'CARD_DECLINED', run: count } });
    return count === 1 ? new Error('broken') : count;
  }

  @Mutation(() => Int)
  @Idempotent({ required: false })
  steps(@Args('name') name: string, @IdempotentExecution() execution: Execution | undefined) {
    return execution ? execution.step('only', () => run(name)) : -1;
  }

  @Mutation(() => Int)
  @UseInterceptors(impatient)
  @Idempotent()
  late(@Args('name', gatedPipe) name: string): number {
    return run(name);
  }

  @Mutation(() => Int)
  @Idempotent({ onConflict: 'wait' })
  @UseInterceptors(impatient)
  async lateTurn(@Args('name') name: string): Promise<number> {
    run(name);
    await gates.get(name);
    throw new Error('late');
  }

  @Mutation(() => Int)
  @UseInterceptors(promising)
  @Idempotent()
  async promised(@Args('name') name: string): Promise<number> {
    await sleep(1);
    if (run(name) === 1) throw new Error('deadlock');
    return ran(name);
  }

  @Query(() => Int)
  @Idempotent()
  async count(@Args('name') name: string): Promise<number> {
    return (await this.dataSource.getRepository(Effect).countBy({ name })) + run('count');
  }

  @ResolveField(() => String)
  label(@Parent() { name, at }: Payment): string {
    return `${name} at ${at.getTime()}`;
  }
}

describe.each([
  ['express', 'postgres'],
  ['fastify', 'better-sqlite3'],
] as const)('GraphQL mutations with Apollo on %s and %s', (platform, dialect) => {
  let running: RunningApp;
  let app: RunningApp['app'];
  let service: IdempotencyService;
  let url: string;

  beforeAll(async () => {
    runs.clear();
    running = await startApp(platform, {
      dialect,
      imports: [
        TypeOrmModule.forFeature([Effect]),
        GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true, playground: false }),
      ],
      providers: [PaymentsResolver],
      options: { audit: 'error' },
    });
    app = running.app;
    url = `http://127.0.0.1:${running.port}/graphql`;
    service = app.get(IdempotencyService);
  });

  afterAll(() => running?.close());

  interface Result {
    readonly data: Record<string, never> | null;
    readonly errors?: { message: string; path: string[]; extensions: Record<string, unknown> }[];
  }

  async function ask(query: string, key?: string, headers: Record<string, string> = {}): Promise<Result> {
    const answer = await call(url, { key, headers, body: { query } });
    const result = JSON.parse(answer.body) as Result;
    for (const error of result.errors ?? []) delete error.extensions.stacktrace;
    return result;
  }

  const pay = (name: string, amount = 5, fields = 'name amount run at label') =>
    `mutation { pay(name: "${name}", amount: ${amount}, dueAt: "2026-01-01T00:00:00Z") { ${fields} } }`;

  test('a retry gets the same value, dates and resolved fields included', async () => {
    const first = await ask(pay('first'), 'first');
    expect(first).toEqual({
      data: { pay: { name: 'first', amount: 5, run: 1, at: '1970-01-01T00:00:00.000Z', label: 'first at 0' } },
    });
    expect(await ask(pay('first'), 'first')).toEqual(first);
    // What is selected of the value is no part of the operation.
    expect(await ask(pay('first', 5, 'key'), 'first')).toEqual({ data: { pay: { key: 'first' } } });
    expect(ran('first')).toBe(1);
    expect(await service.find({ key: 'first', operation: 'MUTATION pay' })).toMatchObject({ status: 'done' });
  });

  test('an error that the handler returns: rolled back, and replayed or run again like one that it throws', async () => {
    const returned = (name: string) => ask(`mutation { returned(name: "${name}") }`, name);
    const first = await returned('returned-code');
    expect(first.errors).toMatchObject([
      { message: 'declined 1', path: ['returned'], extensions: { code: 'CARD_DECLINED', run: 1 } },
    ]);
    expect(await returned('returned-code')).toEqual(first);
    expect((await returned('returned-error')).errors).toMatchObject([{ message: 'broken' }]);
    expect(await returned('returned-error')).toEqual({ data: { returned: 2 } });
    const effects = await app.get(DataSource).getRepository(Effect).find();
    expect(effects.map(({ id }) => id).filter((id) => id.startsWith('returned'))).toEqual(['returned-error-2']);
  });

  test('20 duplicates at once: one run', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (;;) {
          const answer = await ask(pay('raced'), 'raced');
          if (!answer.errors) return answer.data;
          expect(answer.errors[0].extensions).toMatchObject({ code: 'in-progress', status: 409, retryable: true });
          await sleep(20);
        }
      }),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(ran('raced')).toBe(1);
  });

  test('duplicates that wait get the value of the first', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask('mutation { wait(name: "waited") }', 'w')));
    expect(answers).toEqual(Array.from({ length: 5 }, () => ({ data: { wait: 1 } })));
  });

  test('a client may wait for less: Prefer: wait=0', async () => {
    const gate = new Promise<void>((resolve) => (open = resolve));
    gates.set('impatient', gate);
    const both = [0, 1].map(() => ask('mutation { wait(name: "impatient") }', 'i', { prefer: 'wait=0' }));
    expect(await Promise.race(both)).toMatchObject({ errors: [{ extensions: { code: 'in-progress' } }] });
    open();
    expect((await Promise.all(both)).filter(({ errors }) => !errors)).toEqual([{ data: { wait: 1 } }]);
  });

  test('several fields in one operation are operations of their own, and a retry finds each', async () => {
    const both = `mutation { ${pay('two', 1).slice(10, -1)} again: ${pay('two', 1).slice(10, -1)} wait(name: "three") }`;
    const first = await ask(both, 'both');
    expect(first).toMatchObject({ data: { pay: { run: 1 }, again: { run: 2 }, wait: 1 } });
    expect(await ask(both, 'both')).toEqual(first);
    expect(ran('two')).toBe(2);
    expect(ran('three')).toBe(1);
    const aliased = await service.find({ key: 'both', operation: 'MUTATION pay as again' });
    // A client cannot choose what logs, metrics and lists distinguish.
    expect(aliased).toMatchObject({ status: 'done', endpoint: 'MUTATION pay' });
  });

  test('refusals are errors with the members of problem details as extensions', async () => {
    expect(await ask(pay('keyless'))).toMatchObject({
      data: null,
      errors: [
        {
          message: 'This mutation requires the Idempotency-Key header.',
          path: ['pay'],
          extensions: { code: 'key-missing', status: 400, retryable: false, title: 'Idempotency key is missing' },
        },
      ],
    });
    await ask(pay('reused', 5), 'reused');
    const reused = (await ask(pay('reused', 6), 'reused')).errors![0];
    expect(reused.extensions).toMatchObject({ code: 'key-reused', status: 422, retryable: false });
    expect((await ask(pay('malformed'), 'a b')).errors![0].extensions).toMatchObject({ code: 'key-invalid' });
    expect([ran('keyless'), ran('reused'), ran('malformed')]).toEqual([0, 1, 0]);
  });

  test('principals with the same key do not meet, and other credentials are distinguished', async () => {
    const as = (user: string) => ask(pay('mine'), 'mine', { 'x-user': user });
    expect(await as('ann')).toMatchObject({ data: { pay: { run: 1 } } });
    expect(await as('ben')).toMatchObject({ data: { pay: { run: 2 } } });
    expect(await as('ann')).toMatchObject({ data: { pay: { run: 1 } } });
    expect((await ask(pay('mine'), 'mine', { 'x-user': 'revoked' })).errors![0].extensions.code).toBe('FORBIDDEN');

    await ask(pay('bound'), 'bound', { authorization: 'Bearer a' });
    expect((await ask(pay('bound'), 'bound', { authorization: 'Bearer b' })).errors![0].extensions).toMatchObject({
      code: 'key-foreign',
      status: 422,
    });
    expect(await ask(pay('bound'), 'bound', { authorization: 'Bearer a' })).toMatchObject({
      data: { pay: { run: 1 } },
    });
  });

  test('a key in an argument is for its field, whatever the client calls that', async () => {
    const withdraw = (alias: string, amount = 10, sentAt = 1) =>
      ask(`mutation { ${alias}: withdraw(key: "arg", amount: ${amount}, sentAt: ${sentAt}) }`);
    expect(await withdraw('a')).toEqual({ data: { a: 11 } });
    expect(await withdraw('b', 10, 2)).toEqual({ data: { b: 11 } });
    expect((await withdraw('a', 11)).errors![0].extensions.code).toBe('key-reused');
    expect((await ask('mutation { withdraw(amount: 1) }')).errors![0].extensions).toMatchObject({
      code: 'key-missing',
      detail: 'This operation requires an idempotency key.',
    });
    expect(ran('withdraw')).toBe(1);
  });

  test.each([
    ['conflict', { message: 'taken 1' }],
    ['declined', { message: 'declined 1', extensions: { code: 'CARD_DECLINED', run: 1 } }],
  ])('an error is replayed: %s', async (name, expected) => {
    const first = await ask(`mutation { fail(name: "${name}") }`, name);
    expect(first.errors).toMatchObject([expected]);
    expect(await ask(`mutation { fail(name: "${name}") }`, name)).toEqual(first);
    expect(ran(name)).toBe(1);
  });

  test('an unexpected error frees the key', async () => {
    for (const message of ['broken 1', 'broken 2']) {
      expect(await ask('mutation { fail(name: "unexpected") }', 'unexpected')).toMatchObject({ errors: [{ message }] });
    }
  });

  test('an error of a promise that an interceptor emits frees the key, and its value is replayed', async () => {
    const promised = () => ask('mutation { promised(name: "promised") }', 'promised');
    expect((await promised()).errors).toMatchObject([{ message: 'deadlock' }]);
    expect([await promised(), await promised()]).toEqual(Array(2).fill({ data: { promised: 2 } }));
  });

  test('what an interceptor has given up on before it began does not begin', async () => {
    const find = () => service.find({ key: 'late', operation: 'MUTATION late' });
    giveUps.length = 0;
    openPipe = undefined;
    const late = ask('mutation { late(name: "late") }', 'late');
    await until(() => openPipe !== undefined);
    giveUps[0]();
    expect((await late).errors).toHaveLength(1);
    await until(async () => (await find()) === null);
    openPipe!();
    // A whole request later, a handler that follows its pipe has begun.
    await ask('{ __typename }');
    expect(ran('late')).toBe(0);
  });

  test('a request that an interceptor has given up on while it waited for its turn leaves the key free', async () => {
    const turn = () => ask('mutation { lateTurn(name: "turn") }', 'turn');
    giveUps.length = 0;
    gates.set('turn', new Promise<void>((resolve) => (open = resolve)));
    const first = turn();
    await until(() => ran('turn') === 1);
    const second = turn();
    await until(() => giveUps.length === 2);
    giveUps.forEach((giveUp) => giveUp());
    expect([await second, await first].map(({ errors }) => errors?.length)).toEqual([1, 1]);
    open();
    const isRunning = async () => {
      const record = await service.find({ key: 'turn', operation: 'MUTATION lateTurn' });
      return record?.status === 'processing';
    };
    await until(async () => !(await isRunning()));
    expect(ran('turn')).toBe(1);
    expect((await turn()).errors).toMatchObject([{ message: 'late' }]);
    expect(ran('turn')).toBe(2);
  });

  test('transactional: the effect commits with the outcome, or not at all', async () => {
    const effects = (name: string) => app.get(DataSource).getRepository(Effect).findBy({ name });
    const transfer = (name: string) => ask(`mutation { transfer(name: "${name}") }`, name.replace(' ', '-'));
    expect(await transfer('kept')).toEqual({ data: { transfer: 1 } });
    expect(await transfer('kept')).toEqual({ data: { transfer: 1 } });
    expect(await effects('kept')).toHaveLength(1);
    expect((await transfer('rolled back')).errors).toHaveLength(1);
    expect(await effects('rolled back')).toEqual([]);
    expect(await transfer('rolled back')).toEqual({ data: { transfer: 2 } });
    expect(await effects('rolled back')).toHaveLength(1);
  });

  test('steps, and no key where none is required', async () => {
    expect(await ask('mutation { steps(name: "step") }', 'step')).toEqual({ data: { steps: 1 } });
    expect(await ask('mutation { steps(name: "step") }', 'step')).toEqual({ data: { steps: 1 } });
    expect(await ask('mutation { steps(name: "step") }')).toEqual({ data: { steps: -1 } });
  });

  test('queries are never touched', async () => {
    expect(await ask('{ count(name: "none") }', 'query')).toEqual({ data: { count: 1 } });
    expect(await ask('{ count(name: "none") }', 'query')).toEqual({ data: { count: 2 } });
    expect(await service.list({ operation: 'MUTATION count' })).toEqual([]);
  });

  test('policy() lists the mutations', () => {
    const { operations } = service.policy();
    expect(operations.map(({ kind, handler }) => `${kind} ${handler}`)).toEqual(
      ['pay', 'wait', 'takeOut', 'fail', 'transfer', 'returned', 'steps', 'late', 'lateTurn', 'promised'].map(
        (name) => `mutation PaymentsResolver.${name}`,
      ),
    );
    expect(operations[0].problems).toContain('key-foreign');
  });
});

describe('at boot', () => {
  let database: TestDatabase;
  beforeAll(async () => (database = await createDatabase('better-sqlite3')));
  afterAll(() => database?.drop());

  async function boot(resolver: new () => object): Promise<unknown> {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({ audit: 'error' }),
      ],
      providers: [resolver],
    })
    class App {}
    const app = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({ logger: false });
    try {
      return await app.init();
    } finally {
      await app.close();
    }
  }

  test('mutations with neither decorator are reported', async () => {
    @Resolver()
    class Undecided {
      @Mutation(() => Int)
      pay() {
        return 1;
      }
    }
    await expect(boot(Undecided)).rejects.toThrow(/neither @Idempotent\(\) nor @NotIdempotent\(\): Undecided\.pay$/);
  });

  test('a resolved field cannot be idempotent', async () => {
    @Resolver(() => Payment)
    class Nested {
      @ResolveField(() => String)
      @Idempotent()
      label() {
        return '';
      }
    }
    await expect(boot(Nested)).rejects.toThrow('@Idempotent() on Nested.label: Nest runs no interceptors');
  });

  test('on a resolver, it covers the mutations', async () => {
    @Resolver()
    @Idempotent()
    class Covered {
      @Mutation(() => Int)
      pay() {
        return 1;
      }
      @ResolveField(() => String)
      label() {
        return '';
      }
    }
    await expect(boot(Covered)).resolves.toBeDefined();
  });
});

/** A field with a default is how a schema grows without a new version. Its value is among the arguments, though no client sent it. */
describe('a retry that reaches a version whose arguments have further defaults', () => {
  const OLD = 'input Item { sku: String! }';
  const NEW =
    'enum Gift { NO YES } input Item { sku: String!, count: Int! = 1, gift: Gift! = NO, options: Options! = {wrap: "no"} }';
  const OPTIONS = 'input Options { wrap: String!, card: String! = "none" }';
  const schema = (types: string, further = '') =>
    `${types} type Query { ok: Boolean } type Mutation { order(items: [Item!]!, by: String${further}): Int }`;

  @Resolver()
  class OrdersResolver {
    @Mutation('order')
    @Idempotent()
    order() {
      return run('order');
    }
  }

  let database: TestDatabase;
  const started: RunningApp[] = [];

  async function version(typeDefs: string) {
    const running = await startApp('express', {
      database,
      imports: [GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, typeDefs, playground: false })],
      providers: [OrdersResolver],
    });
    started.push(running);
    return async (query: string, key: string, variables?: object) => {
      const { body } = await call(`http://127.0.0.1:${running.port}/graphql`, { key, body: { query, variables } });
      return JSON.parse(body) as { data: { order: number } | null; errors?: { extensions: { code: string } }[] };
    };
  }

  let before: Awaited<ReturnType<typeof version>>;
  let after: Awaited<ReturnType<typeof version>>;
  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    before = await version(schema(OLD));
    after = await version(schema(`${NEW} ${OPTIONS}`, ', currency: String! = "EUR"'));
  });

  afterAll(async () => {
    for (const one of started) await one.close();
    await database?.drop();
  });

  test.each([
    ['literals', 'mutation { order(items: [{ sku: "a" }]) }', undefined],
    ['variables', 'mutation ($items: [Item!]!) { order(items: $items) }', { items: [{ sku: 'a' }, { sku: 'b' }] }],
  ])('gets its replay: %s', async (how, query, variables) => {
    const first = await before(query, how, variables);
    expect(first.errors).toBeUndefined();
    expect(await after(query, how, variables)).toEqual(first);
    // And the other way round, as after a rollback.
    const later = await after(query, `${how} later`, variables);
    expect(await before(query, `${how} later`, variables)).toEqual(later);
  });

  test('gets its replay from a client that sends a default', async () => {
    const key = randomUUID();
    const first = await before('mutation { order(items: [{ sku: "a" }]) }', key);
    const query =
      'mutation { order(items: [{ sku: "a", count: 1, gift: NO, options: { wrap: "no" } }], currency: "EUR") }';
    expect(await after(query, key)).toEqual(first);
  });

  test.each([
    'items: [{ sku: "a", count: 2 }]',
    'items: [{ sku: "a", gift: YES }]',
    'items: [{ sku: "a", options: { wrap: "no", card: "red" } }]',
    'items: [{ sku: "a" }], currency: "USD"',
    'items: [{ sku: "a" }], by: null',
  ])('is another request with %s', async (args) => {
    const key = randomUUID();
    await before('mutation { order(items: [{ sku: "a" }]) }', key);
    const { errors } = await after(`mutation { order(${args}) }`, key);
    expect(errors).toMatchObject([{ extensions: { code: 'key-reused' } }]);
  });
});
