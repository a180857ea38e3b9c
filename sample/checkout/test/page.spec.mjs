/** The page in a real browser, with real processes being killed behind it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { request } from 'node:http';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { launchBrowser } from './support/browser.mjs';
import { customerOf } from './support/customer.mjs';
import { newPlace, startStage, until } from './support/processes.mjs';

const TIMEOUT = 40_000;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describe('the page', { timeout: 300_000 }, () => {
  let place, stage, customer, browser, context, page, complaints;

  before(async () => {
    place = await newPlace();
    [stage, browser] = await Promise.all([startStage(place), launchBrowser()]);
    customer = customerOf(place);
  });
  after(async () => {
    await browser?.close();
    await stage?.stop();
    await place?.remove();
  });
  beforeEach(() => open());
  afterEach(async () => {
    await context?.close();
    assert.deepEqual(complaints, []);
  });

  async function open(options = {}) {
    await context?.close();
    context = await browser.newContext({ viewport: { width: 1280, height: 720 }, ...options });
    context.setDefaultTimeout(TIMEOUT);
    page = await context.newPage();
    complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // A 422 or a 502 is what some troubles are about.
      const isAnswer = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !isAnswer) complaints.push(message.text());
    });
    await page.goto(place.url.replace('127.0.0.1', 'localhost'));
    await page.locator('#trouble-crash').waitFor();
    await page.locator('#products li').first().waitFor();
  }

  const turnProtectionOff = () => page.getByRole('switch', { name: 'Protection' }).setChecked(false, { force: true });

  /** What the page says when it is over; and what the provider's ledger says. */
  async function play(id) {
    const before = (await customer.ledger()).length;
    const verdict = page.locator('#verdict');
    const last = await verdict.getAttribute('data-run');
    await page.locator(`#trouble-${id}`).click();
    const isOver = (run) => {
      const { dataset } = document.getElementById('verdict');
      return dataset.run !== run && dataset.phase !== 'running';
    };
    await page.waitForFunction(isOver, last ?? undefined, { timeout: TIMEOUT });
    const charged = (await customer.ledger()).length - before;
    return { charged, shown: Number(await page.locator('#charges').innerText()), text: await verdict.innerText() };
  }

  // First, while there is little on the page: axe looks at everything.
  for (const colorScheme of ['light', 'dark']) {
    it(`has no accessibility violations, ${colorScheme}`, async () => {
      await open({ colorScheme, bypassCSP: true, reducedMotion: 'reduce' });
      await page.evaluate(axe);
      const violations = async () => {
        const results = await page.evaluate(() => globalThis.axe.run());
        return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
      };
      await play('double-click');
      assert.deepEqual(await violations(), []);
      await turnProtectionOff();
      await play('double-click');
      assert.deepEqual(await violations(), []);
    });
  }

  const PROTECTED = [
    ['double-click', /waited and was given the same answer/],
    ['fifty-retries', /1 of them ran the checkout, and 49 were given/],
    ['lost-answer', /asked the provider/],
    ['zombie', /It answered with what shop 2 had recorded/],
    ['other-cart', /422 key-reused/],
    ['no-redis', /The database decided/],
  ];

  // The crash has a test of its own where it is protected.
  const UNPROTECTED = [
    ['double-click', 2, /Nothing told the second click from a second order/],
    ['fifty-retries', 50, /50 orders, and as many charges/],
    ['lost-answer', 2, /knew nothing of the first charge, and made another/],
    ['crash', 2, /knew nothing of what shop 1 had done, and charged the card again/],
    ['zombie', 2, /each has its own charge/],
    // Two carts and one key, which nobody looks at: both are charged.
    ['other-cart', 2, /Nobody compared the carts: the second was charged as well/],
    // Ten requests, each carried out. Redis has no part in it: whoever does not protect does not lock either.
    ['no-redis', 10, /10 orders, and as many charges, as with Redis/],
  ];

  it('has no trouble that is not tested, with and without protection', async () => {
    const ids = await page
      .locator('#trouble-list button')
      .evaluateAll((all) => all.map(({ id }) => id.replace('trouble-', '')));
    assert.deepEqual(new Set(ids), new Set([...PROTECTED.map(([id]) => id), 'crash']));
    assert.deepEqual(new Set(ids), new Set(UNPROTECTED.map(([id]) => id)));
  });

  for (const [id, because] of PROTECTED) {
    it(`${id}: one charge`, async () => {
      const { charged, shown, text } = await play(id);
      assert.equal(charged, 1, text);
      assert.equal(shown, 1, text);
      assert.match(text, because);
      assert.equal(await page.locator('#records [data-mine=""]').count(), 1);
    });
  }

  it('crash: one charge, by a takeover that the page shows', async () => {
    const pids = () => page.locator('#processes li').evaluateAll((all) => all.slice(0, 2).map((one) => one.title));
    const [one, two] = await pids();
    const { charged, shown, text } = await play('crash');
    assert.equal(charged, 1, text);
    assert.equal(shown, 1, text);
    assert.match(text, /took the record over/);

    const record = await page.locator('#records [data-mine=""]').innerText();
    assert.match(record, /done/);
    assert.match(record, /attempt\s+2/);
    assert.match(record, /fencing token\s+2/);
    assert.match(record, /reserve\s+done, token 1/);
    assert.match(record, /confirm\s+done, token 2/);
    await page.locator('#events [data-event=takenOver]').first().waitFor();

    const [newOne, sameTwo] = await pids();
    assert.match(one, /^process \d+$/);
    assert.notEqual(newOne, one);
    assert.equal(sameTwo, two);
  });

  for (const [id, charges, because] of UNPROTECTED) {
    it(`${id} without protection: ${charges} charges`, async () => {
      await turnProtectionOff();
      const { charged, shown, text } = await play(id);
      assert.equal(charged, charges, text);
      assert.equal(shown, charges, text);
      assert.match(text, because);
      assert.equal(await page.locator('#verdict').getAttribute('data-mood'), 'twice');
      assert.equal(await page.locator('#records [data-mine=""]').count(), 0);
    });
  }

  it('charges once when Pay is clicked twice, and twice without protection', async () => {
    const pay = page.getByRole('button', { name: /^Pay/ });
    const before = (await customer.ledger()).length;
    await pay.dblclick();
    await page.locator('.verdict[data-mood=once]').waitFor();
    await page.locator('#counts', { hasText: /requests\s*2/ }).waitFor();
    assert.equal((await customer.ledger()).length, before + 1);

    await turnProtectionOff();
    await pay.dblclick();
    await page.locator('.verdict[data-mood=twice]').waitFor();
    assert.equal((await customer.ledger()).length, before + 3);
  });

  it('plays a trouble alone, and starts over for the next audience', async () => {
    const pay = page.getByRole('button', { name: /^Pay/ });
    const before = (await customer.ledger()).length;
    await page.locator('#trouble-crash').click();
    await page.locator('#pay[aria-disabled=true]').waitFor();
    await pay.click({ force: true });
    await page.locator('.verdict[data-phase=done]').waitFor();
    assert.equal((await customer.ledger()).length, before + 1);
    const events = await page.locator('#events').innerText();
    assert.match(events, /€51\.50, booked/);
    assert.match(events, /from now on: answers after 10 s, once/);
    assert.doesNotMatch(events, /[{}]/);

    await page.getByRole('button', { name: 'Start over' }).click();
    await page.getByText('No key has been seen yet.').waitFor();
    await page.getByText('Nothing has been paid yet').waitFor();
    assert.deepEqual(await customer.ledger(), []);
    await pay.click();
    await page.locator('.verdict[data-mood=once]').waitFor();
  });

  it('shows the code of the endpoint that is paid at', async () => {
    const code = page.getByRole('link', { name: 'The code of this endpoint' });
    const text = async () => (await page.request.get(await code.evaluate((link) => link.href))).text();
    assert.match(await text(), /@Idempotent\(\)/);
    await turnProtectionOff();
    assert.doesNotMatch(await text(), /@Idempotent\(\)/);
  });

  it('takes another cart for another payment', async () => {
    const key = page.locator('#key');
    const first = await key.innerText();
    await page.getByRole('button', { name: 'One Mug more' }).click();
    assert.notEqual(await key.innerText(), first);
    assert.equal(await page.locator('#total').innerText(), '€64.00');
  });

  it('can be paid with the keyboard alone', async () => {
    const pay = page.getByRole('button', { name: /^Pay/ });
    const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);
    for (let tabs = 0; !(await isFocused(pay)); tabs++) {
      assert.ok(tabs < 20, 'Pay is not reached');
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await page.locator('.verdict[data-mood=once]').waitFor();
    assert.equal(await isFocused(pay), true);

    const doubleClick = page.locator('#trouble-double-click');
    for (let tabs = 0; !(await isFocused(doubleClick)); tabs++) {
      assert.ok(tabs < 20, 'the troubles are not reached');
      await page.keyboard.press('Tab');
    }
    const outline = () => doubleClick.evaluate((button) => getComputedStyle(button, '::after').outlineStyle);
    assert.equal(await outline(), 'solid');
    await page.keyboard.press('Space');
    await page.waitForFunction(() => document.getElementById('announcer').textContent.startsWith('1 charge.'));
    assert.equal(await isFocused(doubleClick), true);
  });

  it('tells a screen reader what is about to happen, and what has', async () => {
    const button = page.getByRole('button', { name: 'Double click' });
    const about = await button.evaluate((b) => document.getElementById(b.getAttribute('aria-describedby')).textContent);
    assert.match(about, /^Sends the payment twice/);
    await page.evaluate(() => {
      globalThis.heard = [];
      const announcer = document.getElementById('announcer');
      new MutationObserver(() => globalThis.heard.push(announcer.textContent)).observe(announcer, { childList: true });
    });
    await play('double-click');
    const heard = await page.evaluate(() => globalThis.heard);
    assert.equal(heard[0], about);
    assert.match(heard.at(-1), /^1 charge\. Both asked the database/);
    assert.equal(await page.getByRole('status').filter({ hasText: '1 charge.' }).count(), 1);
  });

  it('follows the system’s theme until another is chosen, and keeps that', async () => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await open({ colorScheme: 'dark' });
    const dark = await background();
    const toggle = page.getByRole('button', { name: 'Dark theme', pressed: true });
    await toggle.click();
    const light = await background();
    assert.notEqual(light, dark);
    await page.reload();
    assert.equal(await background(), light);
  });

  it('does not scroll sideways at 360 pixels', async () => {
    await open({ viewport: { width: 360, height: 640 } });
    await turnProtectionOff();
    await play('double-click');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    assert.ok((await page.evaluate(() => document.documentElement.scrollHeight)) < 2_900);
  });

  it('keeps still where reduced motion is asked for', async () => {
    await open({ reducedMotion: 'reduce' });
    await page.evaluate(() => {
      globalThis.moved = 0;
      for (const type of ['animationstart', 'transitionrun']) document.addEventListener(type, () => globalThis.moved++);
    });
    await play('double-click');
    assert.equal(await page.evaluate(() => globalThis.moved), 0);
  });

  it('lets no other site make trouble', async () => {
    const post = (headers) =>
      new Promise((resolve, reject) => {
        const body = JSON.stringify({ trouble: 'double-click', items: [], protection: true });
        const { hostname, port } = new URL(place.url);
        const asked = request({ hostname, port, path: '/stage/troubles', method: 'POST', headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        asked.once('error', reject);
        asked.end(body);
      });
    const host = new URL(place.url).host;
    assert.equal(await post({ Host: host, Origin: 'http://evil.example' }), 403);
    assert.equal(await post({ Host: `evil.example:${host.split(':')[1]}`, Origin: `http://${host}` }), 403);
    assert.equal(await post({ Host: host }), 403);
  });

  it('runs no script but its own', async () => {
    const { headers } = await fetch(place.url);
    assert.match(headers.get('Content-Security-Policy'), /^default-src 'self';/);
    assert.equal(headers.get('X-Content-Type-Options'), 'nosniff');
  });
});

describe('a stage without Redis', { timeout: 120_000 }, () => {
  let place, stage, browser;

  before(async () => {
    place = await newPlace({ REDIS_SERVER: '/not/installed/redis-server' });
    [stage, browser] = await Promise.all([startStage(place), launchBrowser()]);
  });
  after(async () => {
    await browser?.close();
    await stage?.stop('SIGKILL');
    await place?.remove();
  });

  it('says so, and charges once all the same', async () => {
    const page = await browser.newPage();
    await page.goto(place.url);
    const button = page.getByRole('button', { name: 'Take Redis away' });
    await button.waitFor();
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    await page.getByText('There is no redis-server on this machine. Install it').waitFor();
    await button.click({ force: true });
    await page.locator('#trouble-fifty-retries').click();
    await page.locator('.verdict[data-mood=once]').waitFor({ timeout: TIMEOUT });
    await page
      .locator('#run-verdict', { hasText: '1 of them ran the checkout, and 49 were' })
      .waitFor({ timeout: TIMEOUT });
    assert.equal((await customerOf(place).ledger()).length, 1);
  });

  it('takes its shops and its provider with it, even when it is killed', async () => {
    const page = await browser.newPage();
    await page.goto(place.url);
    await page.locator('#processes li').first().waitFor();
    const titles = await page.locator('#processes li[title]').evaluateAll((all) => all.map((one) => one.title));
    const pids = titles.map((title) => Number(title.replace('process ', '')));
    assert.equal(pids.length, 2);
    await stage.stop('SIGKILL');
    await until('its processes are gone', () => !pids.some(isAlive));
    await until('the provider is gone', () =>
      fetch(place.providerUrl).then(
        () => false,
        () => true,
      ),
    );
  });
});

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
