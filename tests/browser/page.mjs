// A user of the page in Chromium: opens it, types, reads; records every error.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startSuite } from './suite.mjs';

const OUT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'out');
const WAIT_MS = 20_000;

const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
};

/** A narrow phone. */
export const PHONE = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

export function launch() {
  return chromium.launch(LAUNCH);
}

/**
 * Starts a chat and a browser for the tests of one file. Returns `example(name, run, options)`, where
 * `run` gets `{ url, gateway, room, open, enter }`: a room of its own, and users whose tabs are
 * closed and checked for errors at its end. The gateway gets these flags.
 */
export function chatAndBrowser(gatewayFlags = []) {
  let suite;
  let browser;
  before(async () => {
    suite = await startSuite(gatewayFlags);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await suite?.stop();
  });

  return function example(name, run, { needsGateway = false } = {}) {
    const skip = needsGateway && process.env.CHAT_URL ? 'the chat at CHAT_URL is not ours to restart' : false;
    test(name, { skip, timeout: 120_000 }, async () => {
      const { url, gateway } = suite;
      const room = `t-${randomBytes(4).toString('hex')}`;
      const people = [];
      const arrive = (open) => async (...given) => {
        const person = await open(...given);
        people.push(person);
        return person;
      };
      const open = arrive((options = {}) => Person.open(browser, url, { room, ...options }));
      const enter = arrive((called, options = {}) => Person.enter(browser, url, called, { room, ...options }));
      try {
        await run({ url, gateway, room, browser, open, enter });
      } catch (error) {
        for (const [index, person] of people.entries()) {
          await person.screenshot(`failed-${index}-${name.replace(/\W+/g, '-')}`).catch(() => {});
          error.message += `\n\n${await person.account().catch(String)}`;
        }
        await Promise.all(people.map((person) => person.context.close()));
        throw error;
      }
      for (const person of people) await person.leave();
    });
  };
}

/** Opens a separate tab (with empty storage) of the chat. */
export class Person {
  static async open(browser, url, { room, context = {}, mayLose = false, prepare = async () => {} } = {}) {
    const opened = await browser.newContext({ viewport: { width: 960, height: 600 }, locale: 'en-GB', colorScheme: 'dark', ...context });
    opened.setDefaultTimeout(WAIT_MS);
    const person = new Person(opened, await opened.newPage(), mayLose);
    await prepare(person.page);
    await person.visit(room ? `${url}#room=${encodeURIComponent(room)}` : url);
    return person;
  }

  /** Opens a tab and logs in. */
  static async enter(browser, url, name, options) {
    const person = await Person.open(browser, url, options);
    await person.logIn(name);
    return person;
  }

  faults = [];

  constructor(context, page, mayLose) {
    this.context = context;
    this.page = page;
    this.log = page.locator('#log');
    this.line = page.locator('#line');
    this.state = page.locator('#state');
    this.#watch(mayLose);
  }

  #watch(mayLose) {
    const fault = (text) => this.faults.push(text);
    this.page.on('dialog', (dialog) => {
      fault(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    this.page.on('pageerror', (error) => fault(`error: ${error.stack}`));
    this.page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      const lost = /WebSocket connection to .* failed|ERR_CONNECTION_REFUSED/.test(message.text());
      if (!(lost && mayLose)) fault(`console: ${message.text()}`);
    });
    this.page.on('popup', (popup) => fault(`popup: ${popup.url()}`));
  }

  async visit(url) {
    await this.page.addInitScript(() => {
      globalThis.violations = [];
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
        globalThis.violations.push(`${violatedDirective} ${blockedURI}`),
      );
    });
    await this.page.goto(url);
  }

  async logIn(name) {
    await this.page.locator('.sign-question').waitFor();
    await this.type(name);
    await this.online();
  }

  /** Types a line and presses Enter. */
  async type(text) {
    await this.line.fill(text);
    await this.line.press('Enter');
  }

  async online() {
    await this.page.locator(':root[data-state="online"]').waitFor();
  }

  /** The lines of the scrollback, without their times. */
  async lines() {
    const texts = await this.log.locator('.line').evaluateAll((lines) =>
      lines.map((line) =>
        [...line.childNodes]
          .filter((node) => node.nodeName !== 'TIME')
          .map((node) => node.textContent)
          .join('')
          .trim(),
      ),
    );
    return texts;
  }

  /** Waits for a line that contains the text; returns its element. */
  async sees(text, kind = '') {
    const line = this.log.locator(`.line${kind}`).filter({ hasText: text }).last();
    await line.waitFor();
    return line;
  }

  async seesNot(text) {
    const lines = await this.lines();
    assert.ok(!lines.some((line) => line.includes(text)), `${text} is in\n${lines.join('\n')}`);
  }

  /** The visible text of the page and its errors, for the report of a failed test. */
  async account() {
    return [await this.state.textContent(), ...(await this.lines()), ...this.faults].join('\n');
  }

  async screenshot(name) {
    await mkdir(OUT, { recursive: true });
    await this.page.screenshot({ path: path.join(OUT, `${name}.png`) });
  }

  /** Whether the page is wider than the screen. */
  async overflows() {
    return this.page.evaluate(() =>
      [document.documentElement, document.body, document.querySelector('#log')].some(
        (element) => element.scrollWidth > element.clientWidth,
      ),
    );
  }

  /** Closes the tab; asserts that it had no errors. */
  async leave() {
    const inside = await this.page.evaluate(() => ({
      violations: globalThis.violations,
      pwned: globalThis.__pwned,
    }));
    await this.context.close();
    assert.deepEqual(this.faults, []);
    assert.deepEqual(inside.violations, []);
    assert.equal(inside.pwned, undefined);
  }
}
