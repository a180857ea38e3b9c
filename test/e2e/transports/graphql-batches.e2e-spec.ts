import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type CanActivate, type ExecutionContext, Injectable, UseGuards } from '@nestjs/common';
import { Args, GraphQLModule, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import { Idempotent } from '../../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from '../../conformance/support/app.js';
import { call } from '../../support/http-client.js';

let runs = 0;
/** The amount whose guard takes longer than those of the others. */
let slow = 0;

@Injectable()
class LookUpGuard implements CanActivate {
  async canActivate(context: ExecutionContext) {
    const { amount } = context.getArgByIndex<{ amount: number }>(1);
    if (amount === slow) await sleep(100);
    return true;
  }
}

@Resolver()
@UseGuards(LookUpGuard)
class PaymentsResolver {
  @Query(() => Int)
  payments(@Args('amount', { type: () => Int }) amount: number) {
    return amount;
  }

  @Mutation(() => String)
  @Idempotent({ onConflict: 'wait' })
  async pay(@Args('amount', { type: () => Int }) amount: number) {
    await sleep(10);
    return `${amount} in run ${++runs}`;
  }

  @Mutation(() => String)
  @Idempotent()
  refund(@Args('amount', { type: () => Int }) amount: number) {
    return `${amount} in run ${++runs}`;
  }
}

const operation = (field: string, amount: number) => ({
  query: `mutation Of${amount % 2}($amount: Int!) { ${field}(amount: $amount) }`,
  variables: { amount },
});

describe.each(PLATFORMS)('batched mutations with one key header, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      imports: [
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          allowBatchedHttpRequests: true,
        }),
      ],
      providers: [PaymentsResolver],
    });
  });
  beforeEach(() => {
    runs = 0;
    slow = 0;
  });
  afterAll(() => app?.close());

  async function ask(key: string, batch: readonly object[]) {
    const { body } = await call(`http://127.0.0.1:${app.port}/graphql`, { key, body: batch });
    const results = JSON.parse(body) as { data?: object; errors?: { extensions: { code: string } }[] }[];
    return results.map(({ data, errors }) => errors?.[0].extensions.code ?? Object.values(data!)[0]);
  }

  test('each runs once, and a retry finds each, in whatever order guards let them pass', async () => {
    const key = randomUUID();
    const batch = [operation('pay', 1), operation('pay', 2), operation('pay', 3), operation('refund', 4)];
    const first = await ask(key, batch);
    expect(first.map((text) => parseInt(text as string))).toEqual([1, 2, 3, 4]);
    slow = 1;
    expect(await ask(key, batch)).toEqual(first);
    expect(runs).toBe(4);
    expect(await ask(key, [...batch.slice(0, 2), operation('pay', 5), batch[3]])).toEqual([
      ...first.slice(0, 2),
      'key-reused',
      first[3],
    ]);
  });

  test('two that are equal are two payments', async () => {
    const key = randomUUID();
    const batch = [{ query: '{ payments(amount: 1) }' }, operation('pay', 1), operation('pay', 1)];
    const first = await ask(key, batch);
    expect([runs, new Set(first.slice(1)).size]).toEqual([2, 2]);
    expect(new Set((await ask(key, batch)).slice(1))).toEqual(new Set(first.slice(1)));
    expect(runs).toBe(2);
    // An operation that is sent alone has the name of the first.
    expect(first.slice(1)).toContain((await ask(key, [operation('pay', 1)]))[0]);
  });
});
