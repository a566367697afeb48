// A browser on an application's own page, which may not load anything from other origins.

import assert from 'node:assert/strict';
import { chromium } from '../../browser/node_modules/playwright-core/index.mjs';

const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
};
const WAIT_MS = 15_000;

export const [, , url, stack] = process.argv;
const browser = await chromium.launch(LAUNCH);
let checks = 0;

/** A user in a separate browser. `name` answers the page's prompt. */
export async function person(name, address = url, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const host = new URL(url).hostname;
  await page.route(
    (target) => target.hostname !== host,
    (route) => route.abort(),
  );
  page.dialogs = [];
  page.on('dialog', (dialog) => {
    page.dialogs.push(dialog.type());
    dialog.accept(name);
  });
  await prepare(page);
  await page.goto(address, { waitUntil: 'domcontentloaded' });
  return page;
}

export function check(what, found, expected) {
  checks += 1;
  assert.deepEqual(found, expected, what);
}

/** Waits until a function in the page returns true. */
export async function until(what, page, is, argument) {
  checks += 1;
  await page.waitForFunction(is, argument, { timeout: WAIT_MS }).catch((error) => {
    throw new Error(`${what}: ${error.message}`);
  });
}

export async function run(what, steps) {
  try {
    await steps();
    console.log(`${what} in a browser, on ${stack}: ${checks} checks, 0 failed`);
  } catch (error) {
    console.log(`${what} in a browser, on ${stack}: FAILED after ${checks} checks\n${error.stack}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
