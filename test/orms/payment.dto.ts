export class PaymentDto {
  account!: number;
  amount!: number;
}
