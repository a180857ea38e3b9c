import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Get,
  HttpException,
  Injectable,
  Module,
  type NestInterceptor,
  NotFoundException,
  Param,
  Post,
  Query,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Payload,
  type MqttContext,
  type MqttOptions,
  type ReadPacket,
  RmqContext,
  RpcException,
  ServerMqtt,
} from '@nestjs/microservices';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { Channel, Message } from 'amqplib';
import type { MqttClient } from 'mqtt';
import { catchError, lastValueFrom, mergeMap, type Observable, tap, throwError, timer } from 'rxjs';
import { Column, DataSource, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  type IdempotencyEvent,
  IdempotencyModule,
  type IdempotencyModuleOptions,
  IdempotencyProblem,
  IdempotencyService,
  IdempotentExecution,
} from 'nestjs-idempotency';

/** How an operation behaves, as its message says. */
interface Task {
  /** What its effects are counted under. */
  name: string;
  /** How long it takes, in milliseconds, before its effect and after it. */
  before?: number;
  after?: number;
  /** Ends the process before this step of it, in the first attempt. */
  dieBefore?: string;
  /** Throws this. */
  fail?: 'final' | 'unknown' | 'once' | 'always';
}

@Entity('effect')
class Effect {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) name!: string;
  @Column({ type: 'int' }) attempt!: number;
}

const env = process.env;
const report = (message: object) => process.send?.(message);

/** For consumers with `noAck: false`: a message is acknowledged once its outcome is on record. */
@Injectable()
class AckInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const rmq = context.switchToRpc().getContext<RmqContext>();
    if (!(rmq instanceof RmqContext)) return next.handle();
    const channel = rmq.getChannelRef() as Channel;
    const message = rmq.getMessage() as unknown as Message;
    return next.handle().pipe(
      tap({ complete: () => channel.ack(message) }),
      catchError((error: unknown) => {
        const again = isWorthAnotherTry(error);
        return timer(again ? 50 : 0).pipe(
          tap(() => channel.nack(message, false, again)),
          mergeMap(() => throwError(() => error)),
        );
      }),
    );
  }
}

function isWorthAnotherTry(error: unknown): boolean {
  if (error instanceof IdempotencyProblem) return error.retryable;
  if (error instanceof RpcException) return false;
  const status = error instanceof HttpException ? error.getStatus() : 500;
  return status >= 500 || [408, 425, 429].includes(status);
}

/** Acknowledges a message of QoS 1 once its handler has ended. Takes one message at a time. */
class AcknowledgingMqttServer extends ServerMqtt {
  private readonly handled = new WeakMap<object, Promise<unknown>>();

  override async createMqttClient(): Promise<MqttClient> {
    const client = (await super.createMqttClient()) as MqttClient;
    client.handleMessage = (packet, acknowledge) =>
      void Promise.resolve(this.handled.get(packet)).finally(() => acknowledge());
    return client;
  }

  override getMessageHandler(client: MqttClient) {
    const handle = super.getMessageHandler(client);
    return (topic: string, payload: Buffer, packet?: object) => {
      const handling = handle(topic, payload, packet);
      if (packet) this.handled.set(packet, handling);
      return handling;
    };
  }

  override async handleEvent(topic: string, packet: ReadPacket, context: MqttContext) {
    const handler = this.getHandlerByPattern(topic);
    if (!handler) return super.handleEvent(topic, packet, context);
    await lastValueFrom(this.transformToObservable(handler(packet.data, context)), { defaultValue: undefined });
  }
}

// On the class, and so outside of the decorators of its methods.
@UseInterceptors(AckInterceptor)
@Controller()
class TasksController {
  constructor(private readonly dataSource: DataSource) {}

  @MessagePattern('charge')
  @Idempotent({ onConflict: 'wait', waitTimeout: '20s' })
  charge(@Payload() task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, this.dataSource.manager);
  }

  @MessagePattern('fax')
  @Idempotent({ onConflict: 'wait', waitTimeout: '20s', afterCrash: 'hold' })
  fax(@Payload() task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, this.dataSource.manager);
  }

  @MessagePattern('checkout')
  @Idempotent({ onConflict: 'wait', waitTimeout: '20s' })
  async checkout(@Payload() task: Task, @IdempotentExecution() execution: Execution) {
    for (const step of ['reserve', 'charge']) {
      if (task.dieBefore === step && execution.attempt === 1) process.kill(process.pid, 'SIGKILL');
      await execution.step(step, () => this.addEffect(this.dataSource.manager, `${task.name} ${step}`, execution));
    }
    return { attempt: execution.attempt };
  }

  @EventPattern<string>('order.placed')
  @Idempotent({ transactional: true, onConflict: 'wait', waitTimeout: '20s' })
  async placed(@Payload() task: Task, @IdempotentExecution() execution: Execution) {
    await this.perform(task, execution, execution.manager);
  }

  @EventPattern<string>('$share/shippers/orders/+/shipped')
  @Idempotent({ onConflict: 'wait', waitTimeout: '20s' })
  async shipped(@Payload() task: Task, @IdempotentExecution() execution: Execution) {
    await this.perform(task, execution, this.dataSource.manager);
  }

  @Get('effects')
  effects(@Query('name') name: string) {
    return this.dataSource.manager.findBy(Effect, { name });
  }

  @Post('records/:id/release')
  async release(@Param('id') id: string) {
    return { released: await service().resolve(id, 'release') };
  }

  private async perform(task: Task, execution: Execution, manager: EntityManager) {
    report({ began: task.name, key: execution.key, attempt: execution.attempt });
    await sleep(task.before ?? 0);
    await this.addEffect(manager, task.name, execution);
    report({ done: task.name });
    await sleep(task.after ?? 0);
    if (task.fail === 'final') throw new RpcException('declined');
    if (task.fail === 'unknown') throw new NotFoundException('no such order');
    if (task.fail === 'always') throw new TypeError('a bug');
    if (task.fail === 'once' && execution.attempt === 1) throw new Error('not now');
    return { name: task.name, attempt: execution.attempt };
  }

  private async addEffect(manager: EntityManager, name: string, { attempt }: Execution): Promise<void> {
    await manager.insert(Effect, { id: randomUUID(), name, attempt });
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...(JSON.parse(env.DATABASE!) as TypeOrmModuleOptions),
      autoLoadEntities: true,
      entities: [Effect],
      synchronize: env.SYNCHRONIZE !== 'off',
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot(JSON.parse(env.OPTIONS!) as IdempotencyModuleOptions),
  ],
  controllers: [TasksController],
})
class MessagesApp {}

const app = await NestFactory.create(MessagesApp, { logger: ['error', 'warn', 'fatal'], abortOnError: false });
const service = () => app.get(IdempotencyService);
service().events$.subscribe((event: IdempotencyEvent) => report({ event: { ...event, error: undefined } }));
const transport = JSON.parse(env.TRANSPORT!) as MicroserviceOptions;
app.connectMicroservice(
  env.MQTT_ACKNOWLEDGE === 'when handled'
    ? { strategy: new AcknowledgingMqttServer((transport as Required<MqttOptions>).options) }
    : transport,
);
await app.startAllMicroservices();
await app.listen(0, '127.0.0.1');
report({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
