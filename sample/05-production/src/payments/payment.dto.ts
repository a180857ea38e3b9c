import { IsString, IsUUID, Matches } from 'class-validator';

export class PaymentDto {
  @IsUUID()
  order!: string;

  /** The token that the provider's own form has given to the client. */
  @IsString()
  @Matches(/^tok_\w{1,60}$/)
  card!: string;
}
