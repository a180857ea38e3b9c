import { IsInt, IsISO4217CurrencyCode, IsString, Length, Max, Min } from 'class-validator';

export class OrderDto {
  @IsString()
  @Length(1, 200)
  description!: string;

  /** In cents. */
  @IsInt()
  @Min(1)
  @Max(100_000_00)
  amount!: number;

  @IsISO4217CurrencyCode()
  currency!: string;
}
