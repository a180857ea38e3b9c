/**
 * What `nestjs-idempotency/testing` is for: the shop's own tests let it run into what happens once in a million
 * checkouts. The payment provider is a process of its own here too: it says how often the card was charged.
 */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'node:test';
import { Test } from '@nestjs/testing';
import { IdempotencyFaults, IdempotencyFaultsModule } from 'nestjs-idempotency/testing';
import { customerOf } from './support/customer.mjs';
import { newPlace, startProvider } from './support/processes.mjs';

describe('a checkout in trouble', () => {
  let place, provider, app, faults, customer;

  before(async () => {
    // A short lease: whoever takes over from the dead has to wait for it.
    place = await newPlace({ LEASE: '1s' });
    provider = await startProvider(place);
    Object.assign(process.env, place.env);
    const { AppModule } = await import('../dist/app.module.js');
    const { configureShop } = await import('../dist/create-shop.js');

    const module = await Test.createTestingModule({ imports: [AppModule, IdempotencyFaultsModule] }).compile();
    app = module.createNestApplication({ logger: false });
    configureShop(app);
    await app.listen(place.env.PORT, '127.0.0.1');
    faults = app.get(IdempotencyFaults);
    customer = customerOf(place);
  });
  afterEach(() => faults.reset());
  after(async () => {
    await app?.close();
    await provider?.stop();
    await place?.remove();
  });

  for (const point of ['after claim', 'before step end', 'before complete', 'after complete', 'before send']) {
    it(`charges once when the shop dies ${point}`, async () => {
      const key = randomUUID();
      faults.crashAt(point);
      await assert.rejects(customer.checkout(key), 'the customer loses the connection');
      assert.equal(faults.fired.length, 1);

      const { status, json: order } = await customer.checkoutUntilDone(key);
      assert.equal(status, 201);
      assert.equal(order.status, 'paid');
      assert.equal((await customer.chargesFor(order)).length, 1);
    });
  }

  it('does not charge again when the shop dies between the charge and its record', async () => {
    const key = randomUUID();
    const charges = (await customer.ledger()).length;
    // The steps are reserve, charge and confirm: the second one's end is lost.
    let steps = 0;
    faults.crashAt('before step end', { when: () => ++steps === 2 });
    await assert.rejects(customer.checkout(key));
    assert.equal((await customer.ledger()).length, charges + 1);

    const { status } = await customer.checkoutUntilDone(key);
    assert.equal(status, 201);
    assert.equal((await customer.ledger()).length, charges + 1);
  });

  it('replays the order to a customer who never got the answer', async () => {
    const key = randomUUID();
    faults.loseResponse();
    await assert.rejects(customer.checkout(key));

    const retry = await customer.checkout(key);
    assert.equal(retry.status, 201);
    assert.equal(retry.replayed, true);
    assert.equal((await customer.chargesFor(retry.json)).length, 1);
  });

  it('charges once when an execution loses its lease, and another takes over', async () => {
    const key = randomUUID();
    const charges = (await customer.ledger()).length;
    faults.loseLease({ at: 'before complete' });
    const late = await customer.checkout(key);
    assert.equal(late.status, 409, 'it does not answer with an outcome that is not on record');

    const { status, json: order } = await customer.checkoutUntilDone(key);
    assert.equal(status, 201);
    assert.equal((await customer.chargesFor(order)).length, 1);
    assert.equal((await customer.ledger()).length, charges + 1);
  });

  it('charges nothing while the database is gone, and goes on when it is back', async () => {
    const key = randomUUID();
    const charges = (await customer.ledger()).length;
    faults.losePrimary();
    const refused = await customer.checkout(key);
    assert.equal(refused.status, 503);
    assert.equal(refused.json.code, 'store-unavailable');
    assert.ok(refused.headers.get('Retry-After'));
    assert.equal((await customer.ledger()).length, charges);

    faults.restorePrimary();
    assert.equal((await customer.checkoutUntilDone(key)).status, 201);
    assert.equal((await customer.ledger()).length, charges + 1);
  });
});
