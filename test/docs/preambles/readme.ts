/** What the examples of README.md take for granted. */
import { PrimaryColumn } from 'typeorm';
import type { IdempotencyService } from 'nestjs-idempotency';

export { Body, Post } from '@nestjs/common';
export { Args, Mutation } from '@nestjs/graphql';
export { EventPattern, Payload } from '@nestjs/microservices';
export { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';

export class PaymentDto {
  amount!: number;
}

export class TransferDto {
  from!: string;
  to!: string;
  amount!: number;
}

export class Account {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  balance!: number;
}

export class CartDto {
  items!: string[];
}

export class PlacedOrder extends CartDto {}

export class PaymentInput {
  amount!: number;
}

export class Receipt {
  id!: string;
}

export class FaxDto {
  to!: string;
}

interface Order {
  id: string;
  total: number;
}

interface Charge {
  id: string;
}

export abstract class Members {
  protected readonly stock!: { reserve(cart: CartDto): Promise<Order> };
  protected readonly provider!: {
    charge(amount: number, reference: string): Promise<Charge>;
    find(reference: string): Promise<Charge | undefined>;
  };
  protected readonly orders!: { confirm(order: Order, charge: Charge): Promise<Order> };
  protected readonly payments!: { pay(input: PaymentInput): Promise<Receipt> };
  protected readonly faxes!: { send(fax: FaxDto): Promise<{ sent: true }> };
}

export declare const idempotency: IdempotencyService;
export declare const job: { id: string; data: { order: string } };
export declare const invoices: { make(data: { order: string }): Promise<{ number: string }> };
