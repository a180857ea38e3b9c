import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import {
  Args,
  createUnionType,
  Field,
  GraphQLISODateTime,
  GraphQLModule,
  ID,
  Int,
  InterfaceType,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { Idempotent } from '../../../lib/index.js';
import { type RunningApp, startApp } from '../../conformance/support/app.js';
import { call } from '../../support/http-client.js';

@InterfaceType()
abstract class Receipt {
  @Field(() => ID) id!: string;
  @Field(() => GraphQLISODateTime) at!: Date;
}

@ObjectType({ implements: () => [Receipt] })
class Paid implements Receipt {
  id!: string;
  at!: Date;
  @Field(() => Int) cents!: number;

  @Field(() => String) get amount(): string {
    return `${this.cents / 100} EUR`;
  }

  isLarge(): boolean {
    return this.cents >= 1_000;
  }
}

/** What the ORM returns: no type of the schema itself. */
class PaidRow extends Paid {}

@ObjectType({ implements: () => [Receipt] })
class Declined implements Receipt {
  id!: string;
  at!: Date;
  @Field(() => String) reason!: string;
}

@ObjectType()
class Batch {
  @Field(() => [Receipt]) receipts!: Receipt[];
  @Field(() => Receipt, { nullable: true }) last?: Receipt;
}

@ObjectType()
class Account {
  @Field(() => ID) id!: string;
  /** As TypeORM has one write lazy relations. */
  @Field(() => [Paid]) payments!: Promise<Paid[]>;
  @Field(() => [Account]) parents!: Promise<Account[]> | Account[];
}

@ObjectType()
class Order {
  @Field(() => ID) id!: string;
  @Field(() => [Line]) lines!: Line[];

  @Field(() => Int) get total(): number {
    return this.lines.length;
  }
}

@ObjectType()
class Line {
  @Field(() => ID) id!: string;
  @Field(() => Order) order!: Order;
}

/** By default, @nestjs/graphql finds the type by the class of the value. */
const Result = createUnionType({ name: 'Result', types: () => [Paid, Declined] as const });

/** The same, written by hand. */
const Charge = createUnionType({
  name: 'Charge',
  types: () => [Paid, Declined] as const,
  resolveType: (value: object) => (value instanceof Paid ? Paid : Declined),
});

let runs = 0;

function pay(cents: number): Paid | Declined {
  const id = String(++runs);
  const at = new Date(0);
  return cents > 5_000
    ? Object.assign(new Declined(), { id, at, reason: 'limit' })
    : Object.assign(new PaidRow(), { id, at, cents });
}

@Resolver(() => Paid)
class PaymentsResolver {
  @Query(() => Int) runs() {
    return runs;
  }

  @Mutation(() => Result)
  @Idempotent()
  pay(@Args('cents', { type: () => Int }) cents: number): typeof Result {
    return pay(cents);
  }

  @Mutation(() => Charge)
  @Idempotent({ response: { redact: ['/reason'] } })
  charge(@Args('cents', { type: () => Int }) cents: number): typeof Charge {
    return pay(cents);
  }

  @Mutation(() => Batch)
  @Idempotent()
  payAll(@Args('cents', { type: () => [Int] }) cents: number[]) {
    const receipts = cents.map(pay);
    return { receipts, last: receipts.at(-1) };
  }

  /** @param fails whether a promise is rejected, which leaves the field alone without a value */
  @Mutation(() => [Account])
  @Idempotent()
  open(@Args('fails', { type: () => Boolean }) fails: boolean) {
    const account = new Account();
    account.id = String(++runs);
    account.payments = fails ? Promise.reject(new Error('the ledger is down')) : Promise.resolve([pay(2_000) as Paid]);
    // An entity and its parent know each other.
    account.parents = Promise.resolve([account]);
    const other = Object.assign(new Account(), { id: 'other', payments: Promise.resolve([]), parents: [] });
    return [Promise.resolve(account), other];
  }

  /** As one saves an entity with its relations, each of which knows it, and may have sums over relations of its own. */
  @Mutation(() => Order)
  @Idempotent()
  order(): Order {
    const order = new Order();
    order.id = String(++runs);
    order.lines = ['a', 'b'].map((id) => Object.assign(new Line(), { id, order }));
    Object.defineProperty(order, 'total', { enumerable: true, get: () => order.lines.length });
    Object.defineProperty(order.lines[0], 'discounts', {
      enumerable: true,
      get: () => {
        throw new Error('the relation is not loaded');
      },
    });
    return order;
  }

  @ResolveField(() => Boolean)
  large(@Parent() paid: Paid) {
    return paid.isLarge();
  }
}

/** Replays that got plain objects failed here, and told a client that has paid that it has not. */
describe('values that are instances of @ObjectType() classes', () => {
  let app: RunningApp;
  const paid = '... on Paid { id at cents amount large }';
  const declined = '... on Declined { id reason }';

  beforeAll(async () => {
    app = await startApp('express', {
      imports: [GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true })],
      providers: [PaymentsResolver],
    });
  });
  afterAll(() => app?.close());

  const ask = async (key: string, query: string) =>
    (await call(`http://127.0.0.1:${app.port}/graphql`, { key, body: { query } })).body;

  test.each([
    ['a union', `mutation { pay(cents: 2000) { __typename ${paid} ${declined} } }`, '"amount":"20 EUR","large":true'],
    ['another member of it', `mutation { pay(cents: 9000) { __typename ${paid} ${declined} } }`, '"reason":"limit"'],
    [
      'a union whose type is found by instanceof',
      `mutation { charge(cents: 10) { __typename ${paid} } }`,
      '"cents":10',
    ],
    [
      'an interface, in lists and members',
      `mutation { payAll(cents: [1, 9000]) { receipts { __typename id at ${paid} } last { id ${declined} } } }`,
      '"reason":"limit"',
    ],
    [
      'entities that know each other, and one that lacks a relation',
      'mutation { order { id lines { id order { __typename id lines { id } } } total } }',
      '"lines":[{"id":"a","order":{"__typename":"Order"',
    ],
    [
      'promises in members and lists',
      'mutation { open(fails: false) { __typename id payments { id at amount large } parents { id } } }',
      '"amount":"20 EUR","large":true}],"parents":[{"id":',
    ],
  ])('%s: a retry gets the same', async (name, query, part) => {
    const [before, key] = [runs, name.replaceAll(/\W+/g, '-')];
    const first = await ask(key, query);
    expect(first).toContain(part);
    const afterFirst = runs;
    expect(afterFirst).toBeGreaterThan(before);
    expect(await ask(key, query)).toBe(first);
    expect(runs).toBe(afterFirst);
  });

  test('a promise that is rejected: the mutation is done, and has no value to replay', async () => {
    const [before, query] = [runs, 'mutation { open(fails: true) { id payments { id } } }'];
    expect(await ask('rejected', query)).toContain('the ledger is down');
    expect(await ask('rejected', query)).toContain('replay-unavailable');
    expect(runs).toBe(before + 1);
  });

  test('what is redacted is missing, and the rest has its class', async () => {
    const query = 'mutation { charge(cents: 9000) { __typename ... on Declined { id } } }';
    const first = await ask('redacted', query);
    expect(first).toContain('Declined');
    expect(await ask('redacted', query)).toBe(first);
  });
});
