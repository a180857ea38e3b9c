import { defineEntity, type InferEntity, p } from '@mikro-orm/postgresql';

export const Account = defineEntity({
  name: 'Account',
  properties: { id: p.integer().primary(), balance: p.integer() },
});

export const Payment = defineEntity({
  name: 'Payment',
  properties: { id: p.uuid().primary(), account: p.integer(), amount: p.integer() },
});

export type Account = InferEntity<typeof Account>;
export type Payment = InferEntity<typeof Payment>;
