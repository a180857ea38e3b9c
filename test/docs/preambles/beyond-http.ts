/** What the examples of docs/beyond-http.md take for granted. */
import type { INestApplication } from '@nestjs/common';
import type { ClientProxy } from '@nestjs/microservices';
import type { Job } from 'bullmq';
import { PrimaryColumn } from 'typeorm';
import type { IdempotencyService } from 'nestjs-idempotency';

export {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  type OnModuleDestroy,
  UseInterceptors,
} from '@nestjs/common';
export { Args, Mutation } from '@nestjs/graphql';
export {
  EventPattern,
  MessagePattern,
  type MqttContext,
  MqttRecordBuilder,
  Payload,
  type ReadPacket,
  type RmqContext,
  RpcException,
  ServerMqtt,
} from '@nestjs/microservices';
export { Cron } from '@nestjs/schedule';
export type { Job } from 'bullmq';
export type { MqttClient } from 'mqtt';
export { lastValueFrom, type Observable, tap } from 'rxjs';
export {
  type Execution,
  IdempotencyKey,
  IdempotencyProblem,
  IdempotencyService,
  Idempotent,
  IdempotentExecution,
} from 'nestjs-idempotency';

/** As `@nestjs/bullmq` has them. */
export declare function Processor(queue: string): ClassDecorator;
export declare abstract class WorkerHost {
  get worker(): { close(): Promise<void> };
  abstract process(job: Job): Promise<unknown>;
}

export declare const app: INestApplication;
export declare const client: ClientProxy;

export class OrderDto {
  items!: string[];
}

export class PlacedOrder extends OrderDto {
  id!: string;
}

export class Reservation {
  @PrimaryColumn({ type: 'varchar', length: 36 }) order!: string;
}

export declare class StockService {
  reserve(order: PlacedOrder): Promise<void>;
}

export class PaymentInput {
  amount!: number;
  clientMutationId!: string;
}

export class Payment {
  id!: string;
}

export interface InvoiceJob {
  customer: string;
}

export class Invoice {
  @PrimaryColumn({ type: 'varchar', length: 36 }) customer!: string;
}

export abstract class Members {
  protected readonly idempotency!: IdempotencyService;
  protected readonly orders!: { create(order: OrderDto, key: string): Promise<{ id: string }> };
  protected readonly payments!: { pay(input: PaymentInput): Promise<Payment> };
  protected readonly digests!: { send(): Promise<{ sent: number }> };
}
