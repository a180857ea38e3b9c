/** What the examples of docs/beyond-http.md take for granted. */
import type { ArgumentsHost, INestApplication } from '@nestjs/common';
import type { ClientProxy } from '@nestjs/microservices';
import type { Job, Queue as BullQueue } from 'bullmq';
import { PrimaryColumn } from 'typeorm';
import type { IdempotencyService } from 'nestjs-idempotency';

export {
  Body,
  Catch,
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  type OnModuleDestroy,
  Post,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
export { type ConsumeMessage } from 'amqplib';
export { RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
export { HttpException } from '@nestjs/common';
export { Args, Mutation } from '@nestjs/graphql';
export {
  BaseRpcContext,
  type CustomTransportStrategy,
  EventPattern,
  MessagePattern,
  type MqttContext,
  MqttRecordBuilder,
  Payload,
  type ReadPacket,
  type RmqContext,
  RpcException,
  Server,
  ServerMqtt,
  Transport,
} from '@nestjs/microservices';
export type { ArgumentsHost } from '@nestjs/common';
export { Cron } from '@nestjs/schedule';
export type { Job } from 'bullmq';
export type { MqttClient } from 'mqtt';
export { catchError, lastValueFrom, mergeMap, type Observable, tap, throwError, timer } from 'rxjs';
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

/** As `@nestjs/websockets` has them. */
export declare function WebSocketGateway(): ClassDecorator;
export declare function SubscribeMessage(message: string): MethodDecorator;
export declare function MessageBody(): ParameterDecorator;
export declare function ConnectedSocket(): ParameterDecorator;
export declare class WsException extends Error {
  constructor(error: string | object);
}
export declare class BaseWsExceptionFilter {
  catch(exception: unknown, host: ArgumentsHost): void;
}
/** As `socket.io` has it, with what the application has put into `data`. */
export interface Socket {
  readonly data: { readonly user: { readonly id: string } };
}

export interface PayMessage extends PaymentInput {
  readonly id: string;
}

/** A queue, and what it delivers. */
export interface QueueMessage {
  readonly topic: string;
  readonly headers: Record<string, string>;
  readonly body: unknown;
  acknowledge(this: void): void;
  retryLater(this: void): void;
  reject(): void;
}
export interface Queue {
  consume(deliver: (message: QueueMessage) => Promise<void>): void;
  close(): Promise<void>;
}

/** Shown for the interceptor, and used again. */
export declare function isWorthAnotherTry(error: unknown): boolean;

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

export declare class PaymentsService {
  pay(input: PaymentInput): Promise<Payment>;
}

export class Payment {
  id!: string;
}

export class InvoiceDto {
  customer!: string;
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
  protected readonly queue!: BullQueue;
  protected readonly digests!: { send(): Promise<{ sent: number }> };
}
