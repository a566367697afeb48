// Two users of the application of docs/laravel.md in Chromium. APPLICATION is its address.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const { APPLICATION, QUEUE_WORKER } = process.env;
const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  // The certificate of the test is of no authority.
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--ignore-certificate-errors'],
};

let browser;
let queueWorker;
before(async () => { browser = await chromium.launch(LAUNCH); });
after(async () => {
  await browser?.close();
  queueWorker?.kill();
});

/** A user with a browser profile of its own, in the chat. */
class User {
  constructor(name, context, page) {
    Object.assign(this, { name, context, page, faults: [] });
    page.on('pageerror', (error) => this.faults.push(String(error)));
  }

  static async enter(name) {
    const context = await browser.newContext();
    context.setDefaultTimeout(20_000);
    const user = new User(name, context, await context.newPage());
    const page = await user.page.goto(`${APPLICATION}/login/${name}`);
    assert.equal(page.status(), 200, await page.text());
    await user.sees('You are in room 1.');
    return user;
  }

  sees(line) {
    return this.page.locator('#log').filter({ hasText: line }).waitFor();
  }

  async says(text) {
    await this.page.fill('#send [name=text]', text);
    await this.page.click('#send button');
    await this.sees(`You: ${text}`);
  }

  log() {
    return this.page.locator('#log').innerText();
  }

  /** Waits until these users are shown as present. */
  async meets(...names) {
    const shown = names.sort().join(', ');
    await this.page.waitForFunction((text) => document.querySelector('#people').textContent === text, shown);
  }

  async leave() {
    assert.deepEqual(this.faults, []);
    await this.context.close();
  }
}

test('two users talk, see each other, and are kept out of a closed room', { timeout: 120_000 }, async () => {
  const ann = await User.enter('Ann');
  await ann.meets('Ann');
  const bob = await User.enter('Bob');
  await bob.meets('Ann', 'Bob');
  await ann.meets('Ann', 'Bob');

  await ann.sees('Room 2 is closed to you: 403');
  assert.doesNotMatch(await ann.log(), /Room 1 is closed/);

  await bob.page.locator('#send [name=text]').pressSequentially('B');
  await ann.page.waitForFunction(() => document.querySelector('#typing').textContent === 'B is typing');
  assert.equal(await bob.page.locator('#typing').textContent(), '', 'a whisper does not return');

  await ann.says('first');
  if (QUEUE_WORKER) {
    // Only a running queue worker broadcasts.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.doesNotMatch(await bob.log(), /first/, 'broadcast without a queue worker');
    const [command, ...args] = QUEUE_WORKER.split(' ');
    queueWorker = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  await bob.sees('Ann: first');
  await bob.says('second');
  await ann.sees('Bob: second');
  // What was published for both, before the reply, would have arrived before it.
  assert.doesNotMatch(await ann.log(), /Ann: first/, 'toOthers() leaves out the sender');
  assert.match(await bob.log(), /Ann: first(?!.*Ann: first)/s, 'delivered once');

  await bob.leave();
  await ann.meets('Ann');
  await ann.leave();
});

test('room that is closed is not readable with a forged signature', { timeout: 60_000 }, async () => {
  const ann = await User.enter('Ann');
  const refusal = await ann.page.evaluate(() => new Promise((resolve) => {
    const { pusher } = window.Echo.connector;
    pusher.connection.bind('message', ({ event, channel, data }) => {
      if (channel === 'private-rooms.3') resolve({ event, status: data.status });
    });
    pusher.send_event('pusher:subscribe', { channel: 'private-rooms.3', auth: `${pusher.key}:${'0'.repeat(64)}` });
  }));
  assert.deepEqual(refusal, { event: 'pusher:subscription_error', status: 401 });
  await ann.leave();
});

test('guest is kept out of all rooms', { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(APPLICATION);
  await page.locator('#log').filter({ hasText: 'Room 1 is closed to you: 403' }).waitFor({ timeout: 20_000 });
  assert.equal(await page.locator('#people').textContent(), '');
  await context.close();
});
