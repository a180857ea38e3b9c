import { randomUUID } from 'node:crypto';
import { Body, Controller, Inject, Injectable, Post, Res, Scope, SetMetadata } from '@nestjs/common';
import { ClientProxy } from '@nestjs/microservices';
import { getRepositoryToken, InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { FlowProducer, Queue } from 'bullmq';
import { Pool } from 'pg';
import { filter, map, type Observable, of, take } from 'rxjs';
import { DataSource, Entity, type EntityManager, PrimaryColumn, Repository } from 'typeorm';
import { runOnTransactionCommit } from 'typeorm-transactional';
import {
  type Execution,
  Idempotent,
  type IdempotencyModuleOptions,
  IdempotentExecution,
  NotIdempotent,
} from '../../lib/index.js';
import { PLATFORMS, startApp } from './support/app.js';

/** Like the client of Prisma: a model is a member, and methods are found by a proxy. */
class PrismaService {
  readonly payment = { create: async (_row: object) => {}, findMany: async () => [], findUnique: async () => null };
  $connect() {}
  async $transaction(work: (tx: this) => Promise<unknown>) {
    await work(this);
  }
}

class Http {
  readonly axiosRef = {};
  async get(_url: string) {}
  async post(_url: string, _body?: object, _config?: object) {}
  async patch() {}
}

class Client extends ClientProxy {
  connect = () => Promise.resolve();
  close() {}
  unwrap = <T>() => this as unknown as T;
  protected publish = () => () => {};
  protected dispatchEvent = async <T>() => undefined as T;
}

/** As those of the AWS SDK are. */
class Aws {
  readonly middlewareStack = {};
  readonly config = {};
  async send(_command: object) {}
}

class SendMessageCommand {}

/** As pg-boss has it. */
@Injectable()
class Boss {
  async send(_queue: string, _data: object, _options?: object) {}
  async fetch(_queue: string) {}
  async offWork(_queue: string) {}
}
class GetQueueUrlCommand {}

function Traced(): MethodDecorator {
  return (_target, _name, descriptor: PropertyDescriptor) => {
    const method = descriptor.value as (...args: unknown[]) => unknown;
    descriptor.value = function (...args: unknown[]) {
      return method.apply(this, args);
    };
  };
}

@Injectable()
class Ledger {
  constructor(private readonly prisma: PrismaService) {}

  /** Two calls below the handler. */
  async book(amount: number) {
    await this.insert(amount);
  }

  async list() {
    // this.prisma.payment.create({}) would write.
    return this.prisma.payment.findMany();
  }

  private async insert(amount: number) {
    const { prisma } = this;
    await prisma.$transaction((tx) => tx.payment.create({ data: { amount } }));
  }
}

@Injectable()
class Mails {
  async send(_to: string) {}
  log(_line: string) {}
  watch() {
    return of('sent');
  }
}

@Injectable()
class Bank {
  constructor(private readonly http: Http) {}

  async charge(reference: string) {
    await this.http.post('https://bank.test/charges', { reference });
  }

  async rates() {
    await this.http.get('https://bank.test/rates');
  }
}

@Idempotent({ transactional: true })
@Controller('found')
class FoundController {
  @Inject(Pool) private readonly pool!: Pool;

  constructor(
    private readonly ledger: Ledger,
    private readonly prisma: PrismaService,
    private readonly bank: Bank,
    private readonly client: ClientProxy,
    @Inject(Queue) private readonly queue: Queue,
    @Inject(FlowProducer) private readonly flow: FlowProducer,
    private readonly aws: Aws,
    private readonly boss: Boss,
  ) {}

  @Post('direct')
  async direct(@Body() data: object) {
    return this.prisma.payment.create({ data });
  }

  @Post('below')
  @Traced()
  async below() {
    await this.ledger.book(1);
  }

  @Post('sql')
  async sql() {
    const pool = this.pool;
    await pool.query('SELECT 1');
    await pool.query('UPDATE balance SET amount = 0');
  }

  @Post('charge')
  async charge() {
    await this.bank.charge(randomUUID());
  }

  @Post('fetched')
  async fetched() {
    await fetch('https://bank.test/charges', { method: 'POST' });
  }

  @Post('published')
  async published() {
    this.client.emit('paid', {});
    await this.queue.add('mail', {});
  }

  @Post('to the cloud')
  async cloud() {
    await this.flow.add({ name: 'mail', queueName: 'mails' });
    await this.aws.send(new SendMessageCommand());
  }

  @Post('queued before COMMIT')
  async queued() {
    await this.boss.send('mails', {});
  }

  @Post('queued in the transaction')
  async joined(@IdempotentExecution() execution: Execution) {
    const db = { executeSql: (text: string, values: unknown[]) => execution.manager.query(text, values) };
    await this.boss.send('mails', {}, { db });
  }

  @Post('from the cloud')
  async read() {
    await this.aws.send(new GetQueueUrlCommand());
  }
}

@Entity('fee')
class Fee {
  @PrimaryColumn({ type: 'int' }) id!: number;
}

/** A repository of the application's own. */
@Injectable()
class Fees extends Repository<Fee> {
  constructor(dataSource: DataSource) {
    super(Fee, dataSource.manager);
  }

  raise(id: number) {
    return this.insert({ id });
  }

  in(manager: EntityManager) {
    return manager.withRepository(this);
  }
}

/** Its methods join the transaction of their caller, if it has one. */
@Injectable()
class Discounts {
  constructor(
    @InjectRepository(Fee) private readonly rows: Repository<Fee>,
    private readonly fees: Fees,
    private readonly dataSource: DataSource,
  ) {}

  async early(id: number, manager?: EntityManager) {
    if (manager) return manager.insert(Fee, { id });
    return this.rows.insert({ id });
  }

  async either(id: number, options?: { manager?: EntityManager }) {
    await (options?.manager ? options.manager.insert(Fee, { id }) : this.rows.insert({ id }));
  }

  async within(id: number, tx?: EntityManager): Promise<void> {
    if (!tx) return this.dataSource.transaction((own) => this.within(id, own));
    await tx.insert(Fee, { id });
  }

  async later(id: number, execution?: Execution) {
    let rows = this.rows;
    if (execution) rows = execution.manager.getRepository(Fee);
    await rows.insert({ id });
  }

  async given({ queryRunner }: EntityManager) {
    await this.rows.createQueryBuilder('fee', queryRunner).delete().execute();
    await this.dataSource.query('DELETE FROM fee', [], queryRunner);
  }

  async read(manager: EntityManager) {
    const text = `SELECT id FROM fee`;
    await this.dataSource.query(text);
    await this.fees.in(manager).insert({ id: 4 });
  }

  async compared(id: number, m?: EntityManager) {
    const rows = m !== undefined ? m.getRepository(Fee) : this.rows;
    await (m ? rows.insert({ id }) : this.rows.insert({ id }));
  }

  /** It has the transaction, and forgets it. */
  async forget(manager: EntityManager) {
    await manager.find(Fee);
    await this.rows.insert({ id: 5 });
  }
}

@Idempotent({ transactional: true })
@Controller('repositories')
class RepositoriesController {
  constructor(
    @InjectRepository(Fee) private readonly rows: Repository<Fee>,
    private readonly fees: Fees,
    private readonly dataSource: DataSource,
    private readonly discounts: Discounts,
  ) {}

  @Post('saved')
  async saved() {
    await this.rows.save({ id: 1 });
  }

  @Post('built')
  async built() {
    await this.dataSource.getRepository(Fee).createQueryBuilder().delete().execute();
  }

  @Post('own')
  async own() {
    await this.fees.raise(1);
  }

  @Post('joined')
  async joined(@IdempotentExecution() { manager }: Execution) {
    await manager.withRepository(this.rows).save({ id: 2 });
    await this.dataSource.query('SELECT 1');
    return this.rows.findBy({ id: 1 });
  }

  @Post('restored')
  async restored() {
    await this.rows.restore(1);
  }

  @Post('alone')
  async alone() {
    await this.discounts.early(1);
    await this.discounts.within(1);
  }

  @Post('forgotten')
  async forgotten(@IdempotentExecution() { manager }: Execution) {
    await this.discounts.forget(manager);
  }

  @Post('passed')
  async passed(@IdempotentExecution() execution: Execution) {
    const { manager } = execution;
    await this.discounts.early(1, manager);
    await this.discounts.either(1, { manager });
    await this.discounts.within(1, execution.manager);
    await this.discounts.later(1, execution);
    await this.discounts.compared(1, execution.manager);
    await this.discounts.given(execution.manager);
    await this.discounts.read(execution.manager);
  }
}

@Controller({ path: 'scoped', scope: Scope.REQUEST })
class ScopedController {
  readonly #prisma: PrismaService;

  constructor(prisma: PrismaService) {
    this.#prisma = prisma;
  }

  @Idempotent({ transactional: true })
  @Post()
  async write() {
    await this.#prisma.payment.create({});
  }
}

/** Without a class, as an object that JSON or a configuration library makes. */
const FEES = Object.assign(Object.create(null) as object, { of: (amount: number) => amount / 100 });

@Controller('quiet')
class QuietController {
  constructor(
    private readonly ledger: Ledger,
    private readonly prisma: PrismaService,
    private readonly bank: Bank,
    private readonly http: Http,
    private readonly pool: Pool,
    private readonly queue: Queue,
    private readonly client: ClientProxy,
    private readonly mails: Mails,
    @Inject('FEES') private readonly fees: typeof FEES,
  ) {}

  @Idempotent({ transactional: true })
  @Post('reads')
  async reads() {
    this.fees.of(1);
    await this.ledger.list();
    await this.bank.rates();
    await this.pool.query({ text: 'SELECT 1' });
    await fetch('https://bank.test/rates');
    return this.prisma.payment.findUnique();
  }

  @Idempotent({ transactional: true })
  @Post('steps')
  async steps(@IdempotentExecution() execution: Execution) {
    await execution.step('charge', () => this.bank.charge('a'), { verify: () => undefined });
    await execution.step('mail', async () => void (await this.queue.add('mail (again)', {})));
  }

  @Idempotent({ transactional: true })
  @Post('keys')
  async keys(@IdempotentExecution() execution: Execution) {
    const reference = execution.deriveKey('charge');
    const headers = { 'X-Reference': reference };
    await this.bank.charge(reference);
    await this.http.post('https://bank.test/charges', {}, { headers });
    await this.queue.add('mail', {}, { jobId: execution.deriveKey('mail') });
    await this.prisma.payment.create({ data: { id: reference } });
  }

  /** As docs/mikro-orm.md has it: what is given the execution may put the work on its connection. */
  @Idempotent({ transactional: true })
  @Post('within')
  async within(@IdempotentExecution() execution: Execution) {
    await this.run(execution, () => this.ledger.book(1));
  }

  @Idempotent({ transactional: true, audit: 'off' })
  @Post('known')
  async known() {
    await this.ledger.book(1);
    void this.mails.send('alice');
  }

  /** Not in a transaction: nothing says that these exist once. */
  @Idempotent()
  @Post('plain')
  async plain() {
    await this.ledger.book(1);
    this.client.emit('paid', {});
    await Promise.all([this.mails.send('alice'), this.mails.send('bob')]);
    this.mails.log('sent');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Ends when its response does. */
  @Idempotent()
  @Post('native')
  native(@Res() response: { end(): void }) {
    void this.mails.send('alice').then(() => response.end());
    setImmediate(() => void this.mails.send('bob').then(() => response.end()));
  }

  @NotIdempotent()
  @Post('exempt')
  exempt() {
    void this.ledger.book(1);
  }

  private async run<T>(_execution: Execution, work: () => Promise<T>): Promise<T> {
    return work();
  }
}

@Injectable()
class PaidListener {
  // As @OnEvent('paid') does.
  @SetMetadata('EVENT_LISTENER_METADATA', [{ event: 'paid' }])
  async mail() {}

  @SetMetadata('EVENT_LISTENER_METADATA', [{ event: 'order.**' }])
  async all() {}
}

class PlaceOrder {}
class OrderPlaced {}
class OrderSeen {}
class OrderShipped {}
class OrderReturned {}

/** As the operator of @nestjs/cqrs. */
const ofType = (...types: (new () => object)[]) =>
  filter((event: object) => types.some((type) => event instanceof type));

@Injectable()
class EventPublisher {
  mergeObjectContext(_aggregate: object) {}
}

/** As `@CommandHandler(PlaceOrder)` and `@EventsHandler(OrderPlaced)` of @nestjs/cqrs do. */
@SetMetadata('__commandHandler__', PlaceOrder)
@Injectable()
class PlaceOrderHandler {
  constructor(
    private readonly prisma: PrismaService,
    private readonly publisher: EventPublisher,
  ) {}

  async execute() {
    await this.prisma.payment.create({});
    this.publisher.mergeObjectContext({});
  }
}

@SetMetadata('__eventsHandler__', [OrderPlaced])
@Injectable()
class OrderPlacedHandler {
  async handle() {}
}

@SetMetadata('__eventsHandler__', [OrderSeen])
@Injectable()
class OrderSeenHandler {
  handle() {}
}

/** As `@Saga()` marks its class. */
@SetMetadata('__saga__', ['shipped'])
@Injectable()
class OrderSagas {
  shipped = (events: Observable<object>) =>
    events.pipe(
      ofType(OrderShipped, OrderReturned),
      map(() => new PlaceOrder()),
    );
}

@Injectable()
class CommandBus {
  async execute(_command: object) {}
}

@Injectable()
class EventBus {
  publish(_event: object) {}
  publishAll(_events: object[]) {}
}

@Controller('cqrs')
class CqrsController {
  constructor(
    private readonly commands: CommandBus,
    private readonly events: EventBus,
  ) {}

  @Idempotent({ transactional: true })
  @Post('commanded')
  async commanded() {
    const command = new PlaceOrder();
    await this.commands.execute(command);
  }

  @Idempotent()
  @Post('published')
  published() {
    this.events.publish(new OrderPlaced());
    this.events.publish(new OrderSeen());
  }

  @Idempotent()
  @Post('orchestrated')
  orchestrated() {
    this.events.publish(new OrderShipped());
  }
}

const PAID = 'paid';

class EventEmitter {
  emit(_event: string, _value?: unknown) {}
  async emitAsync(_event: string, _value?: unknown) {}
}

@Idempotent()
@Controller('unawaited')
class UnawaitedController {
  constructor(
    private readonly mails: Mails,
    private readonly events: EventEmitter,
    private readonly dataSource: DataSource,
  ) {}

  @Post('floating')
  floating() {
    // oxlint-disable-next-line typescript/no-floating-promises
    this.mails.send('alice');
  }

  @Post('voided')
  voided() {
    void this.mails.send('alice');
  }

  @Post('caught')
  caught(@Body() to: string) {
    if (to) this.mails.send(to).catch(() => this.mails.log('failed'));
  }

  @Post('timed')
  timed() {
    setImmediate(() => this.mails.log('later'));
  }

  @Post('looped')
  looped(@Body() all: string[]) {
    // oxlint-disable-next-line typescript/no-misused-promises
    all.forEach(async (to) => {
      await this.mails.send(to);
    });
  }

  @Post('saved')
  saved() {
    // oxlint-disable-next-line typescript/no-floating-promises
    this.dataSource.query('SELECT 1');
  }

  @Post('within')
  within(@IdempotentExecution() execution: Execution) {
    setTimeout(() => void execution.manager.query('SELECT 1'), 1);
  }

  @Post('raced')
  async raced(@Body() late: Promise<never>) {
    await Promise.race([this.mails.send('alice'), late]);
  }

  @Post('emitted')
  emitted() {
    this.events.emit('paid', 1);
    this.events.emit('unheard', 1);
  }

  @Post('wild')
  wild() {
    this.events.emit('order.eu.placed', 1);
    this.events.emit('orders.placed', 1);
  }

  @Post('constant')
  constant() {
    this.events.emit(PAID, 1);
  }
}

const providers = [
  Ledger,
  Fees,
  Mails,
  Discounts,
  Bank,
  PaidListener,
  PrismaService,
  EventEmitter,
  CommandBus,
  EventBus,
  EventPublisher,
  PlaceOrderHandler,
  OrderPlacedHandler,
  OrderSeenHandler,
  OrderSagas,
  Http,
  { provide: 'FEES', useValue: FEES },
  { provide: ClientProxy, useClass: Client },
  { provide: Pool, useFactory: () => new Pool() },
  Aws,
  Boss,
  // Connect to nothing.
  { provide: FlowProducer, useFactory: () => Object.create(FlowProducer.prototype) as FlowProducer },
  { provide: Queue, useFactory: () => Object.create(Queue.prototype) as Queue },
];

/** Makes `manager` a getter, as typeorm-transactional does. */
function followCallers(prototype: object): () => void {
  const managers = new WeakMap<object, unknown>();
  Object.defineProperty(prototype, 'manager', {
    configurable: true,
    get(this: object) {
      return managers.get(this);
    },
    set(this: object, manager: unknown) {
      managers.set(this, manager);
    },
  });
  return () => Reflect.deleteProperty(prototype, 'manager');
}

test.each(PLATFORMS)('effects that an operation cannot hold are named at boot, on %s', async (platform) => {
  const boot = async (
    audit: 'off' | 'error',
    controllers: (new (...args: never[]) => object)[],
    transactionHost?: IdempotencyModuleOptions['transactionHost'],
  ) => {
    const imports = [TypeOrmModule.forFeature([Fee])];
    const app = await startApp(platform, { controllers, providers, imports, options: { audit, transactionHost } });
    await app.close();
    return app.log.lines;
  };
  const all = [FoundController, ScopedController, QuietController, UnawaitedController, CqrsController];
  // `audit: 'error'` does not fail the boot for them.
  const lines = await boot('error', all);
  const found = lines.map((line) => /^WARN (\W?\w+)[^]*?: (\w+Controller\..*) Idempotency$/.exec(line)?.slice(1));
  expect(found).toEqual([
    [
      '`transactional',
      'FoundController.direct (Prisma by this.prisma in FoundController.direct), ' +
        'FoundController.below (Prisma by this.prisma in Ledger.insert), ' +
        'FoundController.sql (a pool of pg by this.pool in FoundController.sql), ' +
        'ScopedController.write (Prisma by this.#prisma in ScopedController.write), ' +
        'CqrsController.commanded (Prisma by this.prisma in PlaceOrderHandler.execute)',
    ],
    [
      'A',
      'FoundController.charge (HTTP by this.http in Bank.charge), ' +
        'FoundController.fetched (HTTP in FoundController.fetched), ' +
        'FoundController.published (a ClientProxy by this.client in FoundController.published; ' +
        'a queue by this.queue in FoundController.published), ' +
        'FoundController.cloud (a flow of queues by this.flow in FoundController.cloud; AWS by this.aws in FoundController.cloud), ' +
        'FoundController.queued (pg-boss by this.boss in FoundController.queued)',
    ],
    [
      'These',
      ['floating', 'voided', 'caught']
        .map((name) => `UnawaitedController.${name} (this.mails.send() in UnawaitedController.${name}), `)
        .join('') +
        'UnawaitedController.timed (setImmediate() in UnawaitedController.timed), ' +
        'UnawaitedController.looped (forEach() with an async function in UnawaitedController.looped), ' +
        'UnawaitedController.saved (this.dataSource.query() in UnawaitedController.saved), ' +
        'UnawaitedController.within (execution.manager.query() in UnawaitedController.within; setTimeout() in UnawaitedController.within), ' +
        'UnawaitedController.raced (Promise.race() in UnawaitedController.raced), ' +
        'UnawaitedController.emitted (this.events.emit() in UnawaitedController.emitted, for PaidListener.mail), ' +
        'UnawaitedController.wild (this.events.emit() in UnawaitedController.wild, for PaidListener.all), ' +
        'UnawaitedController.constant (this.events.emit() in UnawaitedController.constant, perhaps for PaidListener.mail), ' +
        'CqrsController.commanded (this.publisher.mergeObjectContext() in PlaceOrderHandler.execute, for handlers of what commit() publishes), ' +
        'CqrsController.published (this.events.publish() in CqrsController.published, for OrderPlacedHandler.handle), ' +
        'CqrsController.orchestrated (this.events.publish() in CqrsController.orchestrated, for OrderSagas.shipped)',
    ],
  ]);
  expect(await boot('off', all)).toEqual([]);
  const ofRepositories = [
    expect.stringContaining(
      ': RepositoriesController.saved (TypeORM by this.rows in RepositoriesController.saved), ' +
        'RepositoriesController.built (TypeORM by this.dataSource in RepositoriesController.built), ' +
        'RepositoriesController.own (TypeORM by this.manager in Fees.insert), ' +
        'RepositoriesController.restored (TypeORM by this.rows in RepositoriesController.restored), ' +
        'RepositoriesController.alone (TypeORM by this.dataSource in Discounts.within; TypeORM by this.rows in Discounts.early), ' +
        'RepositoriesController.forgotten (TypeORM by this.rows in Discounts.forget) Idempotency',
    ),
  ];
  expect(await boot('error', [RepositoriesController])).toEqual(ofRepositories);
  const host = {
    run: <T>({ manager }: DataSource, work: (on: EntityManager) => Promise<T>) => manager.transaction(work),
  };
  expect(await boot('error', [RepositoriesController], host)).toEqual(ofRepositories);
  const restore = [Repository.prototype, DataSource.prototype].map(followCallers);
  expect(await boot('error', [RepositoriesController], host)).toEqual([]);
  restore.forEach((end) => end());
  expect(await boot('error', [QuietController])).toEqual([]);
});

/** As applications and packages write the controllers and services of their resources: once. */
abstract class CrudController {
  @Inject(getRepositoryToken(Fee)) protected readonly rows!: Repository<Fee>;

  @Post('created')
  async create(@Body() fee: Fee) {
    return this.rows.save(fee);
  }
}

@Idempotent({ transactional: true })
@Controller('inherited')
class InheritedController extends CrudController {
  @Post('again')
  async again(@Body() fee: Fee) {
    return super.create(fee);
  }
}

/** As @nestjsx/crud adds methods to a class. */
const Generated: ClassDecorator = ({ prototype }) => {
  const methods = prototype as Record<string, unknown>;
  methods.generated = async function (this: { rows: Repository<Fee> }) {
    return this.rows.insert({ id: 1 });
  };
  Post('generated')(prototype as object, 'generated', Object.getOwnPropertyDescriptor(prototype, 'generated')!);
};

@Idempotent({ transactional: true })
@Generated
@Controller('generated')
class GeneratedController {
  constructor(@InjectRepository(Fee) readonly rows: Repository<Fee>) {}
}

/** As applications write that carry a transaction in a context of their own. */
@Injectable()
class Connection {
  constructor(private readonly dataSource: DataSource) {}

  getRepository(_context: object, entity: typeof Fee) {
    return this.dataSource.getRepository(entity);
  }
}

@Controller('runners')
class RunnersController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly mails: Mails,
    private readonly connection: Connection,
  ) {}

  @Idempotent({ transactional: true })
  @Post('begun')
  async begun() {
    const runner = this.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.commitTransaction();
    await runner.release();
  }

  @Idempotent({ transactional: true })
  @Post('written')
  async written() {
    const rows = this.dataSource.manager.getRepository(Fee);
    await rows.insert({ id: 1 });
  }

  @Idempotent({ transactional: true })
  @Post('served')
  async served() {
    const fees = this.connection.getRepository({}, Fee);
    await fees.insert({ id: 1 });
  }

  @Idempotent({ transactional: true })
  @Post('given')
  async given(@IdempotentExecution() { manager }: Execution) {
    await this.connection.getRepository({ manager }, Fee).insert({ id: 1 });
  }

  /** What looks like a comment hides no parenthesis: what follows belongs to other methods. */
  @Idempotent({ transactional: true })
  @Post('read')
  async read(@Body() url: string) {
    const runner = this.dataSource.createQueryRunner();
    await runner.query('SELECT 1');
    await runner.release();
    return url.replace(/^https?:\/\//, '').replace(/["'(]/, '');
  }

  @NotIdempotent()
  @Post('other')
  async other() {
    await this.dataSource.getRepository(Fee).insert({ id: 1 });
  }

  @Idempotent()
  @Post('subscribed')
  subscribed() {
    this.mails.watch().pipe(take(1)).subscribe();
  }

  @Idempotent()
  @Post('answered')
  answered(@Res() response: { send(value: unknown): void }) {
    this.mails.watch().subscribe((value) => response.send(value));
  }

  @Idempotent()
  @Post('after COMMIT')
  committed() {
    runOnTransactionCommit(() => this.mails.log('committed'));
  }
}

// What handlers inherit was not read, nor what a package had added to their class.
test('effects in base classes, in methods that a decorator adds, and by query runners are named at boot', async () => {
  const app = await startApp('express', {
    controllers: [InheritedController, GeneratedController, RunnersController],
    providers: [Mails, Connection],
    imports: [TypeOrmModule.forFeature([Fee])],
    options: { audit: 'error' },
  });
  await app.close();
  expect(app.log.lines).toEqual([
    expect.stringContaining(
      ': InheritedController.again (TypeORM by this.rows in InheritedController.create), ' +
        'InheritedController.create (TypeORM by this.rows in InheritedController.create), ' +
        'GeneratedController.generated (TypeORM by this.rows in GeneratedController.generated), ' +
        'RunnersController.begun (TypeORM by this.dataSource in RunnersController.begun), ' +
        'RunnersController.written (TypeORM by this.dataSource in RunnersController.written), ' +
        'RunnersController.served (TypeORM by this.connection in RunnersController.served) Idempotency',
    ),
    expect.stringContaining(
      ': RunnersController.subscribed (this.mails.watch.pipe.subscribe() in RunnersController.subscribed), ' +
        'RunnersController.committed (runOnTransactionCommit() in RunnersController.committed) Idempotency',
    ),
  ]);
});

/** Has the members of a package's client, of which all are functions here. */
const clientWith = (...members: string[]) =>
  Object.fromEntries(members.map((name) => [name, () => undefined])) as never;

/** Other query builders and drivers, by the members by which their newest versions are known. */
@Idempotent({ transactional: true })
@Controller('builders')
class BuildersController {
  // Objection 3: the class of a model.
  private readonly payments: { query(): { insert(row: object): void; findById(id: number): void } } = class {
    static relatedQuery() {}
    static bindKnex() {}
    static query() {
      return { insert: () => undefined, findById: () => undefined };
    }
  };
  private readonly db: { none(sql: string): void; one(sql: string): void } = clientWith(
    'none',
    'one',
    'oneOrNone',
    'manyOrNone',
    'taskIf',
    'tx',
  );
  private readonly pool: { query(sql: unknown): void; one(sql: unknown): void } = clientWith(
    'query',
    'one',
    'many',
    'manyFirst',
    'maybeOneFirst',
    'transaction',
  );

  @Post('objection')
  objection() {
    this.payments.query().insert({ amount: 1 });
  }

  @Post('pg-promise')
  promise() {
    this.db.none('INSERT INTO payment VALUES (1)');
  }

  @Post('slonik')
  slonik() {
    const sql = { unsafe: String.raw };
    this.pool.query(sql.unsafe`INSERT INTO payment VALUES (1)`);
  }

  @Post('reading')
  reading() {
    const sql = { unsafe: String.raw, type: (_schema: object) => String.raw };
    this.payments.query().findById(1);
    this.db.one('SELECT 1');
    this.pool.one(sql.unsafe`SELECT 1`);
    this.pool.one(sql.type({})`
      SELECT 1`);
  }
}

test('writes by Objection, pg-promise and Slonik are named at boot', async () => {
  const app = await startApp('fastify', { controllers: [BuildersController], options: { audit: 'error' } });
  await app.close();
  expect(app.log.lines).toEqual([
    expect.stringContaining(
      ': BuildersController.objection (Objection by this.payments in BuildersController.objection), ' +
        'BuildersController.promise (pg-promise by this.db in BuildersController.promise), ' +
        'BuildersController.slonik (Slonik by this.pool in BuildersController.slonik) Idempotency',
    ),
  ]);
});
