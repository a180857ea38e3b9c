/** A real Chromium, as the audience has it. */
import { chromium } from 'playwright-core';
import { CHROMIUM, need } from '../../../../test/support/binaries.mjs';

export const launchBrowser = () => chromium.launch({ executablePath: need(CHROMIUM) });
