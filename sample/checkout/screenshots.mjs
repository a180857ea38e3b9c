/**
 * Takes the pictures of the page anew, into docs/images: `npm run screenshots -w sample/checkout`, after a build. Needs
 * Chromium and pngquant (and the font Inter, for the pictures to look the same).
 */
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchBrowser } from './test/support/browser.mjs';
import { newPlace, startStage } from './test/support/processes.mjs';

const TO = join(import.meta.dirname, '../../docs/images');
const TIMEOUT = 60_000;

/** @typedef {{ name: string, colorScheme: 'light' | 'dark', troubles: string[], protection: boolean }} Picture */

/** @type {Picture[]} */
const PICTURES = [
  { name: 'checkout-light', colorScheme: 'light', troubles: ['other-cart', 'crash', 'zombie'], protection: true },
  { name: 'checkout-dark', colorScheme: 'dark', troubles: ['other-cart', 'crash', 'zombie'], protection: true },
  { name: 'checkout-unprotected', colorScheme: 'light', troubles: ['fifty-retries'], protection: false },
];

await mkdir(TO, { recursive: true });
const browser = await launchBrowser();
for (const picture of PICTURES) await take(picture);
await browser.close();

/** @param {Picture} picture */
async function take({ name, colorScheme, troubles, protection }) {
  const place = await newPlace();
  const stage = await startStage(place);
  try {
    const page = await browser.newPage({
      colorScheme,
      reducedMotion: 'reduce',
      viewport: { width: 1440, height: 1000 },
      deviceScaleFactor: 1.25,
    });
    page.setDefaultTimeout(TIMEOUT);
    await page.goto(place.url.replace('127.0.0.1', 'localhost'));
    await page.locator('#trouble-crash').waitFor();
    if (!protection) await page.getByRole('switch').setChecked(false, { force: true });
    for (const trouble of troubles) {
      const last = await page.locator('#verdict').getAttribute('data-run');
      await page.locator(`#trouble-${trouble}[aria-disabled=false]`).click();
      // Some are over before one can see them run.
      const isOver = (/** @type {string | null} */ run) => {
        const { dataset } = /** @type {any} */ (globalThis).document.getElementById('verdict');
        return (dataset.run ?? null) !== run && dataset.phase === 'done';
      };
      await page.waitForFunction(isOver, last);
    }
    await page.mouse.move(0, 0);
    await page.evaluate(() => globalThis.scrollTo(0, 0));
    await page.waitForTimeout(500);
    const path = join(TO, `${name}.png`);
    await page.screenshot({ path });
    execFileSync('pngquant', ['--force', '--output', path, path]);
    console.log(`docs/images/${name}.png`);
  } finally {
    await stage.stop();
    await place.remove();
  }
}
