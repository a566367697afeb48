// The package in Chromium, as one file: against the suite, over a network that breaks, and offline.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startApplication } from '../application.mjs';
import { scenarios } from '../scenarios.mjs';
import { startSuite } from '../suite.mjs';
import { Cutter } from './cutter.mjs';
import { FakeServer } from './fake_server.mjs';

const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
};
const BUNDLE = '/node_modules/push-suite-client/push-suite-client.js';
/** A prime number, so that cuts differ in what they cut. */
const EVERY_BYTES = 41;

let suite;
let application;
let browser;
let server;
let cutter;
before(async () => {
  suite = await startSuite();
  application = await startApplication(suite.http);
  browser = await chromium.launch(LAUNCH);
  server = await FakeServer.start();
  cutter = await Cutter.start(server.port);
});
after(async () => {
  await browser?.close();
  await application?.stop();
  await suite?.stop();
  await cutter?.stop();
  await server?.stop();
});

async function openPage() {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(application.url);
  await page.addScriptTag({ url: `${application.url}/node_modules/laravel-echo/dist/echo.iife.js` });
  return { page, errors };
}

for (const name of Object.keys(scenarios).filter((each) => !each.startsWith('encrypted'))) {
  test(`in place of pusher-js: ${name}`, { timeout: 90_000 }, async () => {
    const { page, errors } = await openPage();
    await page.evaluate(async ({ name, port, application, bundle }) => {
      const { Client } = await import(bundle);
      const { environment, scenarios } = await import('/scenarios.mjs');
      const Echo = window.Echo.default ?? window.Echo;
      const world = environment({ port, application, make: () => Client, Echo, encrypts: false });
      try {
        await scenarios[name](world);
      } finally {
        world.close();
      }
    }, { name, port: suite.port, application: application.url, bundle: BUNDLE });
    assert.deepEqual(errors, []);
    await page.close();
  });
}

/** Connects a page to the server at a port; its positions are in the storage of the session. */
function subscribe(page, channel, port) {
  return page.evaluate(async ({ channel, port, bundle }) => {
    const { Client, StoredPositions } = await import(bundle);
    // Without waits between attempts.
    Math.random = () => 0;
    const seen = { lines: [], gaps: [], recovered: [], states: [] };
    const client = new Client('key', {
      hosts: [`127.0.0.1:${port}`], forceTLS: false, positions: new StoredPositions(sessionStorage),
      onGap: (_, reason) => seen.gaps.push(reason), onRecovered: (_, count) => seen.recovered.push(count),
    });
    client.connection.bind('state_change', ({ current }) => seen.states.push(current));
    client.subscribe(channel).bind('line', (line) => seen.lines.push(line));
    Object.assign(window, { seen, client });
  }, { channel, port, bundle: BUNDLE });
}

const isSubscribed = (page) => page.waitForFunction(() => window.client.allChannels().every((each) => each.subscribed));
const hasSeen = (page, line, options) =>
  page.waitForFunction((line) => window.seen.lines.includes(line), line, options);

test('network that is cut within a recovery: each message once and in order', { timeout: 120_000 }, async (t) => {
  const { page, errors } = await openPage();
  await subscribe(page, 'cut', cutter.port);
  await isSubscribed(page);
  const expected = [];
  const publish = (line) => {
    expected.push(line);
    server.publish('cut', line);
  };
  publish('first');
  await hasSeen(page, 'first');
  let cuts = 0;
  for (let size = Infinity, at = 0; at < size; at += EVERY_BYTES, cuts += 1) {
    // The first one is not cut: it has as many bytes as the others.
    cutter.down = cuts === 0 ? Infinity : at;
    cutter.cut();
    for (const each of ['a', 'b', 'c']) publish(`${each} ${cuts}`);
    await hasSeen(page, `c ${cuts}`);
    await isSubscribed(page);
    if (cuts === 0) [size, at] = [cutter.passed.down, 0];
  }
  t.diagnostic(`${cuts} cuts`);
  assert.ok(cuts > 10);
  publish('last');
  await hasSeen(page, 'last');
  const { lines, gaps } = await page.evaluate(() => window.seen);
  assert.deepEqual([lines, gaps], [expected, []]);
  assert.deepEqual(errors, []);
  await page.close();
});

test('page that is loaded again recovers from its stored position', { timeout: 60_000 }, async () => {
  const { page } = await openPage();
  await subscribe(page, 'reload', server.port);
  await isSubscribed(page);
  server.publish('reload', 'before');
  await hasSeen(page, 'before');
  await page.goto('about:blank');
  server.publish('reload', 'meanwhile');
  await page.goto(application.url);
  await subscribe(page, 'reload', server.port);
  await hasSeen(page, 'meanwhile');
  await page.waitForFunction(() => window.seen.recovered.length === 1);
  const { lines, gaps, recovered } = await page.evaluate(() => window.seen);
  assert.deepEqual([lines, gaps, recovered], [['meanwhile'], [], [1]]);
  await page.close();
});

test('browser without a network tries little, and comes back at once with everything', { timeout: 90_000 }, async () => {
  const { page } = await openPage();
  await subscribe(page, 'offline', cutter.port);
  await isSubscribed(page);
  server.publish('offline', 'before');
  await hasSeen(page, 'before');
  // Waits between attempts, so that the return is no attempt that was due.
  await page.evaluate(() => (Math.random = () => 0.99));
  await page.context().setOffline(true);
  cutter.cut();
  await page.waitForFunction(() => window.seen.states.at(-1) === 'unavailable');
  server.publish('offline', 'meanwhile');
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const states = await page.evaluate(() => window.seen.states.filter((each) => each === 'connecting'));
  assert.deepEqual(states, []);
  await page.context().setOffline(false);
  // The next attempt would be due half a minute after the loss.
  await hasSeen(page, 'meanwhile', { timeout: 15_000 });
  const { lines, gaps } = await page.evaluate(() => window.seen);
  assert.deepEqual([lines, gaps], [['before', 'meanwhile'], []]);
  await page.close();
});
