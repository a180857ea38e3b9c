import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreatePayments1796900000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE orders (
        id uuid PRIMARY KEY,
        customer varchar(64) NOT NULL,
        description varchar(200) NOT NULL,
        amount integer NOT NULL CHECK (amount > 0),
        currency char(3) NOT NULL,
        status varchar(10) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid')),
        payment uuid,
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`CREATE INDEX orders_customer ON orders (customer, created_at)`);
    await runner.query(`
      CREATE TABLE payments (
        id uuid PRIMARY KEY,
        "order" uuid NOT NULL UNIQUE REFERENCES orders,
        charge varchar(64) NOT NULL,
        amount integer NOT NULL,
        currency char(3) NOT NULL
      )`);
    await runner.query(`
      CREATE TABLE payouts (
        id uuid PRIMARY KEY,
        customer varchar(64) NOT NULL,
        iban varchar(34) NOT NULL,
        amount integer NOT NULL CHECK (amount > 0),
        currency char(3) NOT NULL,
        status varchar(10) NOT NULL CHECK (status IN ('pending', 'sent', 'unknown')),
        transfer varchar(64)
      )`);
    // One row for each side of a posting: the sum of a posting is zero, and it cannot be written twice.
    await runner.query(`
      CREATE TABLE ledger (
        posting uuid NOT NULL,
        account varchar(80) NOT NULL,
        amount integer NOT NULL,
        PRIMARY KEY (posting, account)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE ledger, payouts, payments, orders`);
  }
}
