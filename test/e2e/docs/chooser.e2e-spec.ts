import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Controller,
  Inject,
  type INestApplication,
  InternalServerErrorException,
  Optional,
  Post,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotentExecution,
} from '../../../lib/index.js';
import { IdempotencyFaults, IdempotencyFaultsModule } from '../../../lib/testing/index.js';
import { root } from '../../../scripts/workspace.mjs';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { type Answer, call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

/** Makes each row of the README's chooser happen, to each form of a handler, and counts the charges. */

const FORMS = ['plain', 'transactional', 'steps', 'held'] as const;
type Form = (typeof FORMS)[number];

@Entity()
class Charge {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'varchar', length: 36 }) reference!: string;
}

/** A provider that knows a reference that it has seen, and charges again for every other call. */
const provider = {
  charges: [] as (string | undefined)[],
  charge(reference?: string) {
    if (reference === undefined || !this.find(reference)) this.charges.push(reference);
    return { reference };
  },
  find: (reference: string) => (provider.charges.includes(reference) ? { reference } : undefined),
};

let failures: number;

@Controller()
class ChargesController {
  constructor(@Optional() @Inject(IdempotencyFaults) private readonly faults?: IdempotencyFaults) {}

  @Idempotent()
  @Post('plain')
  async plain() {
    await this.effect(() => provider.charge());
    return this.answer();
  }

  @Idempotent({ transactional: true })
  @Post('transactional')
  async transactional(@IdempotentExecution() { manager }: Execution) {
    await this.effect(() => manager.insert(Charge, { reference: 'row' }));
    return this.answer();
  }

  @Idempotent()
  @Post('steps')
  async steps(@IdempotentExecution() execution: Execution) {
    const reference = execution.deriveKey('charge');
    await execution.step('charge', () => this.effect(() => provider.charge(reference)), {
      verify: () => provider.find(reference),
    });
    return this.answer();
  }

  @Idempotent({ afterCrash: 'hold' })
  @Post('held')
  async held() {
    await this.effect(() => provider.charge());
    return this.answer();
  }

  private async effect<T>(charge: () => T): Promise<Awaited<T>> {
    await this.faults?.reach('charging');
    const charged = await charge();
    await this.faults?.reach('charged');
    return charged;
  }

  private answer() {
    if (failures-- > 0) throw new InternalServerErrorException();
    return { paid: true };
  }
}

let database: TestDatabase;
/** The first request goes to the first process; where that stalls, its retries go to the second. */
let apps: INestApplication[];
let dataSource: DataSource;
let faults: IdempotencyFaults;

beforeAll(async () => {
  database = await createDatabase('postgres');
  const boot = async (...more: (typeof IdempotencyFaultsModule)[]) => {
    const module = await Test.createTestingModule({
      imports: [
        TypeOrmModule.forRoot({
          ...database.options,
          entities: [Charge],
          autoLoadEntities: true,
          synchronize: true,
        }),
        IdempotencyModule.forRoot({ lease: '1s' }),
        ...more,
      ],
      controllers: [ChargesController],
    }).compile();
    const app = module.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    return app;
  };
  apps = [await boot(IdempotencyFaultsModule), await boot()];
  faults = apps[0].get(IdempotencyFaults);
  dataSource = apps[0].get(DataSource);
});

afterAll(async () => {
  for (const app of apps ?? []) await app.close();
  await database?.drop();
});

beforeEach(() => {
  faults.reset();
  failures = 0;
});

/** What goes wrong, in the order of the README's rows. */
const TROUBLES: readonly ((form: Form, key: string) => Promise<unknown>)[] = [
  (form, key) => Promise.all(Array.from({ length: 50 }, () => pay(form, key))),
  async (form, key) => {
    faults.crashAt('charging');
    await pay(form, key);
    await leasesRunOut();
  },
  async (form, key) => {
    faults.crashAt('charged');
    await pay(form, key);
    await leasesRunOut();
  },
  async (form, key) => {
    faults.at('charged', () => faults.losePrimary());
    expect(await pay(form, key)).toMatchObject({ status: 503 });
    faults.restorePrimary();
    await leasesRunOut();
  },
  async (form, key) => {
    const [stall, goOn] = gate();
    let stalls = false;
    faults.loseRequest('renew', { times: Infinity });
    faults.at('charging', () => ((stalls = true), stall));
    const first = pay(form, key);
    await until(() => stalls);
    await leasesRunOut();
    await retry(form, key, 1);
    goOn();
    await first;
  },
  async (form, key) => {
    failures = 1;
    expect(await pay(form, key)).toMatchObject({ status: 500 });
  },
];

const [, ...ROWS] = chooser();

test('the chooser has a row for each trouble, and a column for each form', () => {
  expect(ROWS.map((cells) => cells.length)).toEqual(TROUBLES.map(() => 1 + FORMS.length));
});

test.each(ROWS.map(([name, ...says], row) => ({ name, says, row })))('$name', async ({ says, row }) => {
  const happened: string[] = [];
  for (const form of FORMS) {
    const key = randomUUID();
    provider.charges = [];
    await dataSource.getRepository(Charge).clear();
    faults.reset();
    await TROUBLES[row](form, key);
    const { status } = await retry(form, key);
    const charges = provider.charges.length + (await dataSource.getRepository(Charge).count());
    happened.push(status === 409 ? 'held' : (['never', 'once', '**twice**'][charges] ?? String(charges)));
  }
  expect(happened).toEqual(says.map((cell) => cell.split(',')[0]));
});

/** One request; `undefined` where its connection breaks. */
async function pay(form: Form, key: string, app = 0): Promise<Answer | undefined> {
  return call(`${await apps[app].getUrl()}/${form}`, { key }).catch(() => undefined);
}

/** As a client does: until the answer is definitive. */
async function retry(form: Form, key: string, app = 0): Promise<Answer> {
  let answer: Answer | undefined;
  await until(async () => {
    answer = await pay(form, key, app);
    return answer && (answer.status === 201 || answer.body.includes('outcome-unknown'));
  });
  return answer!;
}

async function leasesRunOut(): Promise<void> {
  await dataSource
    .createQueryBuilder()
    .update(IdempotencyRecord)
    .set({ leaseUntil: new Date(0) })
    .where({ status: 'processing' })
    .execute();
}

function gate(): [Promise<void>, () => void] {
  let open!: () => void;
  return [new Promise<void>((resolve) => (open = resolve)), open];
}

/** The cells of the README's first table that speaks of troubles, without the line below its head. */
function chooser(): string[][] {
  const lines = readFileSync(join(root, 'README.md'), 'utf8').split('\n');
  const begin = lines.findIndex((line) => line.startsWith('| what goes wrong |'));
  const end = lines.indexOf('', begin);
  const cells = lines.slice(begin, end).map((line) => line.split('|').slice(1, -1));
  return cells.filter((_, i) => i !== 1).map((row) => row.map((cell) => cell.trim()));
}
