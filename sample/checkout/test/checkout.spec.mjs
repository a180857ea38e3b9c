import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { CART, customerOf } from './support/customer.mjs';
import { answers, newPlace, startBoth, startProvider, startShop, until } from './support/processes.mjs';

describe('a checkout', () => {
  let place, shop, customer;

  before(async () => {
    place = await newPlace();
    shop = await startBoth(place);
    customer = customerOf(place);
  });
  afterEach(() => customer.providerShall('ok'));
  after(async () => {
    await shop?.stop();
    await place?.remove();
  });

  it('answers 201 with the order, and a retry with the same bytes', async () => {
    const key = randomUUID();
    const first = await customer.checkout(key);
    assert.equal(first.status, 201);
    assert.equal(first.json.status, 'paid');
    assert.equal(first.json.total, 2 * 1250 + 3900);
    assert.equal(first.replayed, false);

    const retry = await customer.checkout(key);
    assert.equal(retry.status, 201);
    assert.deepEqual(retry.bytes, first.bytes);
    assert.equal(retry.headers.get('Content-Type'), first.headers.get('Content-Type'));
    assert.equal(retry.replayed, true);
    assert.equal((await customer.chargesFor(first.json)).length, 1);
  });

  it('is one charge for 20 concurrent retries', async () => {
    const key = randomUUID();
    const ordersBefore = (await customer.orders()).length;
    const chargesBefore = (await customer.ledger()).length;
    const mugsBefore = await customer.stock('MUG');

    const answersSeen = await Promise.all(Array.from({ length: 20 }, () => customer.checkoutUntilDone(key)));

    const [{ json: order, bytes }] = answersSeen;
    for (const answer of answersSeen) {
      assert.equal(answer.status, 201);
      assert.deepEqual(answer.bytes, bytes);
    }
    assert.equal(answersSeen.filter((answer) => !answer.replayed).length, 1);
    assert.equal((await customer.chargesFor(order)).length, 1);
    assert.equal((await customer.ledger()).length, chargesBefore + 1);
    assert.equal((await customer.orders()).length, ordersBefore + 1);
    assert.equal(await customer.stock('MUG'), mugsBefore - 2);
  });

  it('refuses another cart under the same key with 422', async () => {
    const key = randomUUID();
    const first = await customer.checkout(key);
    const other = await customer.checkout(key, {
      ...CART,
      items: [{ sku: 'MUG', quantity: 3 }],
    });
    assert.equal(other.status, 422);
    assert.equal(other.json.code, 'key-reused');
    assert.equal((await customer.chargesFor(first.json)).length, 1);
  });

  it('asks for a key with 400', async () => {
    const { status, json } = await customer.checkout(undefined);
    assert.equal(status, 400);
    assert.equal(json.code, 'key-missing');
  });

  it('lets a cart that was malformed be corrected under the same key', async () => {
    const key = randomUUID();
    const malformed = await customer.checkout(key, { ...CART, items: [] });
    assert.equal(malformed.status, 400);
    assert.equal((await customer.checkout(key)).status, 201);
  });

  it('replays that a card was declined, and puts the goods back once', async () => {
    const key = randomUUID();
    const mugs = await customer.stock('MUG');
    const cart = { ...CART, card: 'tok_declined' };
    const first = await customer.checkout(key, cart);
    const retry = await customer.checkout(key, cart);
    assert.equal(first.status, 402);
    assert.equal(retry.status, 402);
    assert.equal(retry.replayed, true);
    assert.deepEqual(retry.bytes, first.bytes);
    assert.equal(await customer.stock('MUG'), mugs);
  });

  it('answers 422 for an unknown product and 409 for one that is out of stock', async () => {
    const mugs = await customer.stock('MUG');
    const charges = (await customer.ledger()).length;
    const buy = (sku, quantity) =>
      customer.checkout(randomUUID(), {
        ...CART,
        items: [
          { sku: 'MUG', quantity: 1 },
          { sku, quantity },
        ],
      });
    assert.equal((await buy('UNICORN', 1)).status, 422);
    assert.equal((await buy('SAMOVAR', 2)).status, 409);
    assert.equal(await customer.stock('MUG'), mugs);
    assert.equal((await customer.ledger()).length, charges);
  });

  it('is retried after the provider failed before charging', async () => {
    const key = randomUUID();
    await customer.providerShall('fail');
    assert.equal((await customer.checkout(key)).status, 502);
    await customer.providerShall('ok');
    const { status, json: order } = await customer.checkoutUntilDone(key);
    assert.equal(status, 201);
    assert.equal((await customer.chargesFor(order)).length, 1);
  });

  it('is one charge when the provider charged and its answer was lost', async () => {
    const key = randomUUID();
    const charges = (await customer.ledger()).length;
    await customer.providerShall('drop-answer');
    assert.equal((await customer.checkout(key)).status, 502);
    assert.equal((await customer.ledger()).length, charges + 1);

    // The provider still drops its answers to charges: the retry can only have asked what became of the first one.
    const { status, json: order } = await customer.checkoutUntilDone(key);
    assert.equal(status, 201);
    assert.equal((await customer.chargesFor(order)).length, 1);
    assert.equal((await customer.ledger()).length, charges + 1);
  });

  it('writes a key neither into the log nor onto the disk', async () => {
    const key = `secret-${randomUUID()}`;
    await customer.checkout(key);
    await customer.checkout(key);
    await customer.checkout(key, { ...CART, card: 'tok_other' });

    assert.ok(shop.output.includes('paid'));
    assert.ok(!shop.output.includes(key));
    for (const file of await readdir(place.dataDir)) {
      const content = await readFile(join(place.dataDir, file));
      assert.ok(!content.includes(key), file);
    }
  });
});

describe('a shop that is killed while the provider charges', () => {
  let place, shop, provider, customer;

  before(async () => {
    place = await newPlace();
    provider = await startProvider(place);
    shop = await startShop(place);
    customer = customerOf(place);
  });
  after(async () => {
    await shop?.stop();
    await provider?.stop();
    await place?.remove();
  });

  it('has one order and one charge after the retry', async () => {
    const key = randomUUID();
    const mugs = await customer.stock('MUG');
    await customer.providerShall('slow', 60_000);
    const lost = assert.rejects(customer.checkout(key));
    await until('the charge is booked', async () => {
      return (await customer.ledger()).length === 1;
    });
    await shop.stop('SIGKILL');
    await lost;

    await customer.providerShall('ok');
    shop = await startShop(place);
    const retry = await customer.checkoutUntilDone(key);

    assert.equal(retry.status, 201);
    assert.equal(retry.json.status, 'paid');
    assert.equal((await customer.ledger()).length, 1);
    const [charge] = await customer.chargesFor(retry.json);
    assert.equal(retry.json.chargeId, charge.id);
    assert.deepEqual(await customer.orders(), [retry.json]);
    assert.equal(await customer.stock('MUG'), mugs - 2);

    const replay = await customer.checkout(key);
    assert.equal(replay.replayed, true);
    assert.deepEqual(replay.bytes, retry.bytes);
  });
});

describe('npm start', () => {
  let place, shop;

  before(async () => {
    place = await newPlace({ PROTECTION: 'off' });
    shop = await startBoth(place);
  });
  after(async () => {
    await shop?.stop();
    await place?.remove();
  });

  it('charges every retry when the protection is off', async () => {
    const customer = customerOf(place);
    const key = randomUUID();
    await Promise.all(Array.from({ length: 5 }, () => customer.checkout(key)));
    assert.equal((await customer.ledger()).length, 5);
  });

  it('leaves no provider behind when the shop is killed', async () => {
    await shop.stop('SIGKILL');
    await until('the provider is gone', async () => {
      return !(await answers(place.providerUrl));
    });
  });
});
