/** The operators' page in a real Chromium, as an operator uses it. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import { DataSource } from 'typeorm';
import { IdempotencyRecord, IdempotencyService } from '../../../lib/index.js';
import { AFTER_CHARGE, type DashboardApp, guarded, PREFIX, startDashboardApp } from '../../apps/dashboard-app.js';
import { CHROMIUM, need } from '../../support/binaries.mjs';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

/** What functions find that run in the page. */
declare const document: {
  readonly activeElement: unknown;
  readonly documentElement: { readonly scrollWidth: number; readonly scrollHeight: number };
  getAnimations(): unknown[];
  getElementById(id: string): { readonly textContent: string };
};
declare function getComputedStyle(element: unknown): { readonly outlineStyle: string };

const HOSTILE = '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">';

let axe: string;
let database: TestDatabase;
let shop: DashboardApp;
let browser: Browser;
let page: Page;
/** What the browser complains of: errors, and violations of the Content-Security-Policy. */
let complaints: string[];

beforeAll(async () => {
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  database = await createDatabase('postgres');
  shop = await startDashboardApp(database.options, { platform: 'express', actions: true });
  // Chromium refuses its sandbox to root, as whom CI runs.
  browser = await chromium.launch({ executablePath: need(CHROMIUM), chromiumSandbox: process.getuid?.() !== 0 });
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await shop?.app.close();
  await database?.drop();
});

beforeEach(() => {
  guarded.isOpen = true;
  complaints = [];
});

afterEach(async () => {
  await page?.context().close();
  if (complaints.length > 0) throw new Error(`The browser complains: ${complaints.join('; ')}`);
});

async function open(url: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(20_000);
  page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    const text = message.text();
    // What a test makes the server refuse is logged by the browser as well.
    if (message.type() === 'error' && !text.startsWith('Failed to load resource')) complaints.push(text);
  });
  await page.goto(url);
}

const pay = (key: string, amount = 100, app = shop) =>
  call(`${app.origin}/${PREFIX}/payments`, { key: `"${key}"`, body: { amount, card: '4242', note: HOSTILE } });

const find = (key: string) => shop.app.get(IdempotencyService).find({ key, operation: `POST /${PREFIX}/payments` });

/** A payment whose process dies between the charge and its record. */
async function payAndDie(key: string, amount = 100): Promise<string> {
  shop.faults.crashAt(AFTER_CHARGE);
  await expect(pay(key, amount)).rejects.toThrow();
  // Its lease has to run out before it counts as held.
  await until(async () => (await find(key))?.status === 'held');
  return (await find(key))!.id;
}

const row = (id: string) => page.locator(`#rows tr[data-key="${id}"]`);
const isFocused = (locator: Locator) => locator.evaluate((element) => element === document.activeElement);

async function tabTo(locator: Locator) {
  await locator.waitFor();
  for (let tabs = 0; !(await isFocused(locator)); tabs++) {
    if (tabs > 60) throw new Error(`the keyboard does not reach ${String(locator)}`);
    await page.keyboard.press('Tab');
  }
  const outline = await locator.evaluate((element) => getComputedStyle(element).outlineStyle);
  expect(outline).not.toBe('none');
}

async function expectAccessible(where: string) {
  // By evaluate(), to which the policy of the page does not apply.
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
    interface Violation {
      readonly id: string;
      readonly nodes: readonly { readonly html: string }[];
    }
    return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  });
  expect({ where, violations }).toEqual({ where, violations: [] });
}

describe('the page of the dashboard', () => {
  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 375],
    ['dark', 375],
  ] as const)('has no accessibility violation and fits, %s at %i px', async (colorScheme, width) => {
    const id = await payAndDie(`axe-${colorScheme}-${width}`);
    await pay(`axe-done-${colorScheme}-${width}`);
    await open(shop.page, { colorScheme, viewport: { width, height: 800 }, reducedMotion: 'reduce' });
    const fits = async () => expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);

    await row(id).getByRole('checkbox').check();
    await page.locator('#connection[data-state=live]').waitFor();
    await expectAccessible('list');
    await fits();

    await row(id).getByRole('link').click();
    await page.getByRole('heading', { name: 'Timeline' }).waitFor();
    await expectAccessible('record');
    await fits();

    await page.getByRole('button', { name: 'Resolve…' }).click();
    await expectAccessible('dialog');
    await fits();
    const running = await page.evaluate(() => document.getAnimations().length);
    expect(running).toBe(0);
  });

  it('takes an operator from the list to a released record by the keyboard alone', async () => {
    const id = await payAndDie('by-keyboard');
    await open(shop.page);
    await tabTo(page.getByRole('link', { name: 'Show held records' }));
    await page.keyboard.press('Enter');
    await page.locator('.tabs [aria-current=page]', { hasText: 'Held' }).waitFor();
    await tabTo(row(id).getByRole('link'));
    await page.keyboard.press('Enter');

    await page.locator('#decision-title', { hasText: 'has no outcome on record' }).waitFor();
    await until(() => isFocused(page.locator('#record-title')));
    await page.getByText('Step “charge” began and has no result').waitFor();
    await tabTo(page.getByRole('button', { name: 'Release…' }));
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'Release this record?' });
    await dialog.waitFor();
    expect(
      await dialog.evaluate(
        (element) => document.getElementById(element.getAttribute('aria-describedby')!).textContent,
      ),
    ).toMatch(/the next retry runs the handler again/);
    // Without a reason nothing happens, and the page says so.
    expect(await isFocused(dialog.getByLabel('Reason'))).toBe(true);
    await tabTo(dialog.getByRole('button', { name: 'Release' }));
    await page.keyboard.press('Enter');
    await dialog.getByRole('alert').filter({ hasText: 'Give a reason' }).waitFor();
    expect(await isFocused(dialog.getByLabel('Reason'))).toBe(true);
    expect((await find('by-keyboard'))!.status).toBe('held');

    await page.keyboard.type('not at the provider');
    await tabTo(dialog.getByRole('button', { name: 'Release' }));
    await page.keyboard.press('Enter');
    await page.locator('.record-head .badge', { hasText: 'failed' }).waitFor();
    await page
      .locator('#announcer', { hasText: 'Released. The next retry runs the handler again.' })
      .waitFor({ state: 'attached' });
    await until(() => isFocused(page.locator('#record-title')));
    const answer = await pay('by-keyboard');
    expect([answer.status, answer.headers['idempotent-replayed']]).toEqual([201, undefined]);

    // It has happened meanwhile, and the open record says so.
    await page.locator('.record-head .badge', { hasText: 'done' }).waitFor();
    await tabTo(page.getByRole('link', { name: '← Records' }));
    await page.keyboard.press('Enter');
    await page.locator('#records-title').waitFor();
    expect(new URL(page.url()).hash).toBe('#/?status=held');
  });

  it('resolves a record, and its client gets what the operator entered', async () => {
    const id = await payAndDie('resolved');
    await open(`${shop.page}#/records/${id}`);
    await page.getByRole('button', { name: 'Resolve…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Body').fill('{ "id": "pay_81" ');
    await dialog.getByLabel('Reason').fill('ch_81 at the provider');
    await dialog.getByRole('button', { name: 'Resolve' }).click();
    await dialog.getByRole('alert').filter({ hasText: 'no JSON' }).waitFor();
    await dialog.getByLabel('Body').fill('{ "id": "pay_81" }');
    await dialog.getByLabel('Location header').fill('/payments/81');
    await dialog.getByRole('button', { name: 'Resolve' }).click();
    await page.locator('.record-head .badge', { hasText: 'done' }).waitFor();
    const { status, headers, body } = await pay('resolved');
    expect([status, headers.location, headers['idempotent-replayed'], body]).toEqual([
      201,
      '/payments/81',
      'true',
      '{ "id": "pay_81" }',
    ]);
  });

  it('shows what clients send as text', async () => {
    // What a key may be made of has no spaces.
    const key = '<script>window.pwned=1</script>';
    await call(`${shop.origin}/${PREFIX}/payments`, {
      key: `"${key}"`,
      body: { amount: 1, card: '4242424242424242', [HOSTILE]: HOSTILE },
    });
    const { id } = (await find(key))!;
    const query = new URLSearchParams({ key, operation: `POST /${PREFIX}/payments` });
    await open(`${shop.page}#/?${query.toString()}`);
    await row(id).waitFor();
    expect(await page.locator('#rows tr').count()).toBe(1);
    expect(await page.getByLabel('Idempotency key').inputValue()).toBe(key);
    await row(id).getByRole('link').click();
    const request = page.getByRole('region', { name: 'Body of the request' });
    await request.waitFor();
    expect(await request.innerText()).toContain('<script>window.pwned = 1</script>');
    expect(await request.innerText()).not.toContain('4242');
    expect(await request.locator('.redacted').innerText()).toBe('redacted');
    expect(await page.locator('main script, main img').count()).toBe(0);
    expect(await page.evaluate(() => 'pwned' in globalThis)).toBe(false);
  });

  it('shows what happens while one looks, and does not move rows that one works in', async () => {
    await open(shop.page);
    await page.locator('#connection[data-state=live]').waitFor();
    const claims = page.locator('[data-series=claims] .tile-total');
    const before = Number(await claims.innerText());
    await pay('live-1');
    const first = row((await find('live-1'))!.id);
    await first.waitFor();
    await until(async () => Number(await claims.innerText()) > before);

    await first.getByRole('checkbox').check();
    await pay('live-2');
    const news = page.getByRole('button', { name: 'Show 1 newer record' });
    await news.waitFor();
    const second = row((await find('live-2'))!.id);
    expect(await second.count()).toBe(0);
    await news.click();
    await second.waitFor();
    expect(await first.getByRole('checkbox').isChecked()).toBe(true);

    const held = page.locator('#held-title');
    const text = await held.innerText();
    await payAndDie('live-held');
    // One who asks for it again makes it held, and known to the page.
    await pay('live-held');
    await until(async () => (await held.innerText()) !== text);
  });

  it('changes a selection, and shows the result for each', async () => {
    const [held, done] = [await payAndDie('bulk-held'), 'bulk-done'];
    await pay(done);
    const other = (await find(done))!.id;
    await open(shop.page);
    await row(held).getByRole('checkbox').check();
    await row(other).getByRole('checkbox').check();
    const bar = page.getByRole('region', { name: 'Selection' });
    await bar.getByText('2 records selected').waitFor();
    await bar.getByRole('button', { name: 'Release…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('1 of them is not held, and will be refused.').waitFor();
    await dialog.getByLabel('Reason').fill('outage at the provider');
    await dialog.getByRole('button', { name: 'Release 2 records' }).click();
    await dialog.getByRole('heading', { name: 'Released 1 of 2' }).waitFor();
    const results = await dialog.locator('.results li').allInnerTexts();
    expect(results[0]).toMatch(/^Refused[^]*The record is not held, but done/);
    expect(results[1]).toMatch(/^Released/);
    await dialog.getByRole('button', { name: 'Close' }).click();
    await row(held).locator('.badge', { hasText: 'failed' }).waitFor();
    expect(await bar.isVisible()).toBe(false);
  });

  it('pages through filtered records, and a page can be linked to', async () => {
    const keys = Array.from({ length: 25 }, (_, n) => `page-${n}`);
    for (const key of keys) await pay(key);
    // A phone's page has twenty records.
    await open(shop.page, { viewport: { width: 375, height: 800 } });
    await page.getByRole('link', { name: 'Done' }).click();
    await row((await find('page-24'))!.id).waitFor();
    expect(await page.locator('#rows tr').count()).toBe(20);
    expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThan(2_400);
    await page.getByRole('link', { name: 'Older' }).click();
    await row((await find('page-0'))!.id).waitFor();
    const link = page.url();
    await page.getByRole('link', { name: 'Newer', exact: true }).click();
    await row((await find('page-24'))!.id).waitFor();
    await page.goto('about:blank');
    await page.goto(link);
    await row((await find('page-0'))!.id).waitFor();
  });

  it('changes nothing where it is read-only, and says why; and what it says when it loses the application', async () => {
    const id = await payAndDie('read-only');
    const reader = await startDashboardApp(database.options, { platform: 'fastify', actions: false });
    let again: DashboardApp | undefined;
    try {
      await open(reader.page);
      await row(id).waitFor();
      expect(await page.getByRole('checkbox').count()).toBe(0);
      await page.getByText('Read-only', { exact: true }).waitFor();
      await row(id).getByRole('link').click();
      await page.getByText('This page is read-only: its module was set up without actions: true').first().waitFor();
      expect(await page.getByRole('button', { name: /Resolve|Release|Forget/ }).count()).toBe(0);

      guarded.isOpen = false;
      await page.getByRole('link', { name: '← Records' }).click();
      await page.getByRole('alert').filter({ hasText: 'You may not see this' }).waitFor();
      guarded.isOpen = true;
      await page.getByRole('button', { name: 'Try again' }).click();
      await row(id).waitFor();

      const port = Number(new URL(reader.origin).port);
      await reader.app.close();
      await page.locator('#connection', { hasText: 'Reconnecting…' }).waitFor();
      await page.getByRole('link', { name: 'Failed' }).click();
      await page.getByRole('alert').filter({ hasText: 'The application does not answer' }).waitFor();
      again = await startDashboardApp(database.options, { platform: 'fastify', actions: false, port });
      await page.locator('#connection[data-state=live]').waitFor();
      await page.getByRole('alert').filter({ hasText: 'does not answer' }).waitFor({ state: 'detached' });
    } finally {
      await (again ?? reader).app.close();
    }
  });

  it('distinguishes values from responses, and asks for no more than it has to', async () => {
    const service = shop.app.get(IdempotencyService);
    const table = shop.app.get(DataSource).getRepository(IdempotencyRecord);
    const job = { key: 'by value', operation: 'payout' };
    await service.run(job, () => ({ paid: 1 }));
    const { id } = (await service.find(job))!;
    await table.update(id, { status: 'held', responseCode: null, responseHead: null, responseBody: null });
    const other = await payAndDie('by-response');
    // A link that was cut in the middle of a `%20` is a page all the same.
    await open(`${shop.page}#/records/%`);
    await page.locator('#record-view .failure').waitFor();
    const asked: string[] = [];
    page.on('request', (one) => asked.push(one.url()));
    await page.goto(`${shop.page}#/?status=held`);
    for (const one of [id, other]) await row(one).getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Resolve…' }).click();
    await page.getByText('no outcome fits both').waitFor();
    expect(await page.getByRole('button', { name: /^Resolve 2/ }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await row(other).getByRole('checkbox').uncheck();
    await page.getByRole('button', { name: 'Resolve…' }).click();
    expect(await page.locator('#outcome-status').count()).toBe(0);
    await page.locator('#outcome-body').fill('{ "paid": 2 }');
    await page.locator('#reason').fill('paid by hand');
    await page.locator('#dialog button[type=submit]').click();
    await until(async () => (await service.find(id))?.status === 'done');
    expect(await service.run(job, () => ({ paid: 3 }))).toEqual({ paid: 2 });

    await page.locator('#filter-key').fill('by-response');
    await page.locator('#filter-operation').fill(`POST /${PREFIX}/payments`);
    await page.locator('#filter-key').press('Enter');
    await row(other).waitFor();
    expect(asked.filter((url) => /by-response/.test(url))).toEqual([]);
  });
});
