import { Field, InputType, Int } from '@nestjs/graphql';

@InputType()
export class PaymentInput {
  @Field(() => String)
  order!: string;

  /** In cents. */
  @Field(() => Int)
  amount!: number;
}
