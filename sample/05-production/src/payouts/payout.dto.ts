import { IsIBAN, IsInt, IsISO4217CurrencyCode, Max, Min } from 'class-validator';

export class PayoutDto {
  @IsIBAN()
  iban!: string;

  /** In cents. */
  @IsInt()
  @Min(1)
  @Max(10_000_00)
  amount!: number;

  @IsISO4217CurrencyCode()
  currency!: string;
}
