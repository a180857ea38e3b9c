import { integer, pgTable, uuid } from 'drizzle-orm/pg-core';

export const accounts = pgTable('account', {
  id: integer().primaryKey(),
  balance: integer().notNull(),
});

export const payments = pgTable('payment', {
  id: uuid().primaryKey(),
  account: integer().notNull(),
  amount: integer().notNull(),
});
