/** What the examples of README.md take for granted. */
import { PrimaryColumn } from 'typeorm';

export { Body, Post } from '@nestjs/common';
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

interface Charge {
  id: string;
}

export abstract class Members {
  protected readonly provider!: {
    charge(amount: number, reference: string): Promise<Charge>;
    find(reference: string): Promise<Charge | undefined>;
  };
}
