// The same in Chromium: the builds of pusher-js and Laravel Echo for pages, loaded as pages do.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startApplication } from './application.mjs';
import { scenarios } from './scenarios.mjs';
import { startSuite } from './suite.mjs';

const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
};

let suite;
let application;
let browser;
before(async () => {
  suite = await startSuite();
  application = await startApplication(suite.http);
  browser = await chromium.launch(LAUNCH);
});
after(async () => {
  await browser?.close();
  await application?.stop();
  await suite?.stop();
});

/** A page with both builds of pusher-js, and Echo. */
async function openPage() {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(application.url);
  const modules = `${application.url}/node_modules`;
  await page.addScriptTag({ url: `${modules}/pusher-js/dist/web/pusher-with-encryption.min.js` });
  await page.evaluate(() => { window.EncryptedPusher = window.Pusher; });
  await page.addScriptTag({ url: `${modules}/pusher-js/dist/web/pusher.min.js` });
  await page.addScriptTag({ url: `${modules}/laravel-echo/dist/echo.iife.js` });
  return { page, errors };
}

for (const name of Object.keys(scenarios)) {
  test(name, { timeout: 90_000 }, async () => {
    const { page, errors } = await openPage();
    await page.evaluate(async ({ name, port, application }) => {
      const { environment, scenarios } = await import('/scenarios.mjs');
      const make = (encrypted) => (encrypted ? window.EncryptedPusher : window.Pusher);
      const world = environment({ port, application, make, Echo: window.Echo.default ?? window.Echo });
      try {
        await scenarios[name](world);
      } finally {
        world.close();
      }
    }, { name, port: suite.port, application: application.url });
    assert.deepEqual(errors, []);
    await page.close();
  });
}

test('page of an origin that is not allowed is refused with 4009', { timeout: 90_000 }, async () => {
  const { page } = await openPage();
  const code = await page.evaluate(async ({ port }) => {
    const { closeCode } = await import('/scenarios.mjs');
    const pusher = new window.Pusher('origin-key', {
      wsHost: '127.0.0.1', wsPort: port, forceTLS: false, cluster: '', enabledTransports: ['ws'],
    });
    return closeCode(pusher);
  }, { port: suite.port });
  assert.equal(code, 4009);
  await page.close();
});
