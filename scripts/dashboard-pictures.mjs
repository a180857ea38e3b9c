/**
 * Takes the pictures of the operators' page, into docs/images: `node scripts/dashboard-pictures.mjs`, after a build. Needs
 * Chromium and pngquant (and the font Inter, for the pictures to look the same).
 *
 * The shop is real, and so are its records and its crashes. Its clock runs through an hour first, so that the plot shows one.
 */
import 'reflect-metadata';
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, HttpCode, Inject, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotencyService,
  IdempotencyStep,
} from 'nestjs-idempotency';
import { IdempotencyDashboardModule } from 'nestjs-idempotency/dashboard';
import { IdempotencyFaults, IdempotencyFaultsModule } from 'nestjs-idempotency/testing';
import { chromium } from 'playwright-core';
import { DataSource } from 'typeorm';
import { CHROMIUM, need } from '../test/support/binaries.mjs';

const TO = join(import.meta.dirname, '../docs/images');
const MINUTES = 60;
const MINUTE = 60_000;
const CRASHES_AT = 56;
const TAKEN_OVER_AT = [17, 44, 58];
const AFTER_CHARGE = 'after the charge';
const PATHS = ['payments', 'orders', 'payments', 'payments/81/refunds', 'subscriptions'];
const CART = {
  amount: { value: '51.50', currency: 'EUR' },
  card: { number: '4242424242424242', cvc: '123', expiry: '11/29' },
  customer: 'cus_2081',
  capture: true,
};

/** The clock of the shop, in milliseconds behind that of this machine. */
let behind = 3 * 60 * MINUTE;
class ShopDate extends Date {
  /** @override */
  static now() {
    return super.now() - behind;
  }

  /** @param {any[]} given */
  constructor(...given) {
    if (given.length > 0) super(.../** @type {[any]} */ (given));
    else super(ShopDate.now());
  }
}
Object.assign(globalThis, { Date: ShopDate });

class ShopController {
  /** @param {IdempotencyService} idempotency @param {IdempotencyFaults} faults */
  constructor(idempotency, faults) {
    this.idempotency = idempotency;
    this.faults = faults;
  }

  async pay() {
    const execution = /** @type {import('nestjs-idempotency').Execution} */ (this.idempotency.currentExecution());
    await sleep(4);
    await execution.step('reserve', () => ({ reservation: 'rs_7' }));
    await sleep(4);
    const charge = await execution.step('charge', async () => {
      await sleep(4);
      await this.faults.reach(AFTER_CHARGE);
      return { id: 'ch_81' };
    });
    return { id: 'pay_81', charge: charge.id, status: 'paid' };
  }

  accept() {
    return { status: 'accepted' };
  }
}
Inject(IdempotencyService)(ShopController, undefined, 0);
Inject(IdempotencyFaults)(ShopController, undefined, 1);
decorate('pay', Post('payments'), Idempotent({ afterCrash: 'hold', lease: '400ms' }));
decorate(
  'accept',
  Post(['orders', 'payments/:id/refunds', 'subscriptions']),
  Idempotent({ lease: '400ms' }),
  HttpCode(202),
);
Controller()(ShopController);

class Shop {}
Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'better-sqlite3', database: ':memory:', autoLoadEntities: true, synchronize: true }),
    IdempotencyModule.forRoot({ audit: 'off', sweep: false, request: { redact: ['/card/number', '/card/cvc'] } }),
    IdempotencyDashboardModule.forRoot({ guards: [{ canActivate: logIn }], actions: true }),
    IdempotencyFaultsModule,
  ],
  controllers: [ShopController],
})(Shop);

const app = await NestFactory.create(Shop, { logger: ['error'] });
await app.listen(0, '127.0.0.1');
const origin = await app.getUrl();
const idempotency = app.get(IdempotencyService);
const faults = app.get(IdempotencyFaults);
const records = app.get(DataSource).getRepository(IdempotencyRecord);
const steps = app.get(DataSource).getRepository(IdempotencyStep);
/** @type {{ path: string, key: string, behind: number }[]} */
const sent = [];

await traffic();
const held = await grow();
await mkdir(TO, { recursive: true });
const browser = await chromium.launch({ executablePath: need(CHROMIUM), chromiumSandbox: process.getuid?.() !== 0 });
const DESKTOP = { viewport: { width: 1440, height: 1000 }, deviceScaleFactor: 1.25 };
const PHONE = { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2 };
await take('dashboard-light', { ...DESKTOP, colorScheme: 'light' }, '#/');
await take('dashboard-dark', { ...DESKTOP, colorScheme: 'dark' }, `#/records/${held}`);
await take('dashboard-phone', { ...PHONE, colorScheme: 'light' }, '#/');
await browser.close();
await app.close();

/** @param {'pay' | 'accept'} method @param {...MethodDecorator} decorators */
function decorate(method, ...decorators) {
  const descriptor = /** @type {PropertyDescriptor} */ (
    Object.getOwnPropertyDescriptor(ShopController.prototype, method)
  );
  for (const one of decorators) one(ShopController.prototype, method, descriptor);
  Object.defineProperty(ShopController.prototype, method, descriptor);
}

/** @param {import('@nestjs/common').ExecutionContext} context */
function logIn(context) {
  context.switchToHttp().getRequest().user = { username: 'ada' };
  return true;
}

/** Requests of an hour: some are retried, some are sent twice at once, and some come to a process that dies. */
async function traffic() {
  for (let minute = 0; minute < MINUTES; minute++) {
    behind = (MINUTES - 1 - minute) * MINUTE;
    // Few at the end, so that the crash is on the first screen.
    const count = minute >= CRASHES_AT ? 2 : Math.round(5 + 3 * Math.sin(minute / 9) + ((minute * 7) % 5));
    for (let n = 0; n < count; n++) {
      const path = PATHS[(minute + n) % PATHS.length];
      const key = `key-${minute}-${n}`;
      sent.push({ path, key, behind });
      const isTwice = path === 'payments' && minute % 13 === 5;
      await Promise.all([post(path, key), isTwice && post(path, key)]);
      const replays = n < 3 ? (minute * 5 + n * 3) % 4 : 0;
      for (let replay = 0; replay < replays; replay++) await post(path, key);
    }
    if (minute === CRASHES_AT) await crash('payments', AFTER_CHARGE);
    if (TAKEN_OVER_AT.includes(minute)) await crash('orders', 'before complete');
  }
}

/** @param {string} path @param {string} point */
async function crash(path, point) {
  const key = `crash-${sent.length}`;
  sent.push({ path, key, behind });
  faults.crashAt(point);
  await post(path, key).catch(() => undefined);
  // Until its lease has run out, by the clock of the database.
  for (let status = 409; status === 409; await sleep(100)) {
    const answer = await post(path, key);
    const { code } = /** @type {{ code?: string }} */ (await answer.json());
    if (code === 'outcome-unknown') return;
    status = answer.status;
  }
}

/** @param {string} path @param {string} key */
function post(path, key) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  return fetch(`${origin}/${path}`, { method: 'POST', headers, body: JSON.stringify(CART) });
}

/** The clock of the database cannot be moved: its records are made as old as they were by the clock of the shop. */
async function grow() {
  let lastHeld = '';
  for (const [index, { path, key, behind: ago }] of sent.entries()) {
    const operation = `POST /${path.replace('/81/', '/:id/')}`;
    const record = await idempotency.find({ key, operation });
    if (!record) throw new Error(`${operation} left no record`);
    const { id, createdAt, completedAt, expiresAt, leaseUntil, status } = record;
    // Those of a minute are spread over it.
    const by = ago + (sent.length - index) * 137;
    const earlier = (/** @type {Date} */ at) => new Date(at.getTime() - by);
    await records.update(id, {
      createdAt: earlier(createdAt),
      completedAt: completedAt && earlier(completedAt),
      expiresAt: earlier(expiresAt),
      leaseUntil: earlier(leaseUntil),
    });
    for (const { recordId, name, updatedAt } of await steps.findBy({ recordId: id })) {
      await steps.update({ recordId, name }, { updatedAt: earlier(updatedAt) });
    }
    if (status === 'held') lastHeld = id;
  }
  return lastHeld;
}

/**
 * @param {string} name
 * @param {import('playwright-core').BrowserContextOptions} options
 * @param {string} hash
 */
async function take(name, options, hash) {
  const context = await browser.newContext({ ...options, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${origin}/idempotency${hash}`);
  await page.locator('#connection[data-state=live]').waitFor();
  await page
    .locator(hash === '#/' ? '#rows tr' : '.timeline li')
    .first()
    .waitFor();
  if (hash === '#/') await page.locator('.tile').first().waitFor();
  await page.evaluate(() => /** @type {any} */ (globalThis).document.fonts.ready);
  const path = join(TO, `${name}.png`);
  await page.screenshot({ path });
  execFileSync('pngquant', ['--force', '--output', path, path]);
  await context.close();
  console.log(`docs/images/${name}.png`);
}
