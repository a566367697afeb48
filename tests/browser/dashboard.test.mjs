// The dashboard of a real cluster: what it shows, the search, the close of a client, a killed gateway.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, Person, PHONE } from './page.mjs';
import { startDashboard, startSuite } from './suite.mjs';

const OUT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'out');

const skip = process.env.CHAT_URL ? 'the chat at CHAT_URL is not ours' : false;
let suite;
let dashboard;
let browser;
before(async () => {
  if (skip) return;
  suite = await startSuite([], { gateways: 2 });
  dashboard = await startDashboard(suite);
  browser = await launch();
  await mkdir(OUT, { recursive: true });
});
after(async () => {
  dashboard?.stop();
  await browser?.close();
  await suite?.stop();
});

/** Opens the dashboard; `faults` has every error and everything that the policy has refused. */
async function open(context = {}, url = dashboard.url) {
  const opened = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...context });
  const page = await opened.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && faults.push(message.text()));
  await page.goto(url);
  return { page, faults, close: () => opened.close() };
}

const example = (name, run) => test(name, { skip, timeout: 120_000 }, run);

example('a token is needed, and leaves the address bar', async () => {
  const { origin } = new URL(dashboard.url);
  for (const [request, options] of [['status'], ['samples'], ['clients'], ['clients/x'], ['clients/x/close', { method: 'POST' }], ['nothing']]) {
    for (const Authorization of [undefined, 'Bearer wrong', 'Bearer ']) {
      const answer = await fetch(`${origin}/api/${request}`, { ...options, headers: Authorization ? { Authorization } : {} });
      assert.equal(answer.status, 401, `${request} with ${Authorization}`);
    }
  }
  const html = await fetch(origin);
  assert.match(html.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.equal((await fetch(`${origin}/../Cargo.toml`)).status, 404);

  const { page, close } = await open({}, origin);
  await page.locator('dialog#token').waitFor();
  await page.locator('#token-value').fill('wrong');
  await page.getByRole('button', { name: 'open' }).click();
  await page.locator('dialog#token[open]').waitFor();
  await page.locator('#token-value').fill(new URL(dashboard.url).hash.slice('#token='.length));
  await page.getByRole('button', { name: 'open' }).click();
  await page.locator('#gateways td.good').first().waitFor();
  assert.equal(await page.evaluate(() => location.hash), '');
  await close();
});

example('gateways, workers and totals are those of the cluster', async () => {
  const alice = await Person.enter(browser, suite.urls[0], 'alice', { room: 'seen' });
  const bob = await Person.enter(browser, suite.urls[1], 'bob', { room: 'seen' });
  const { page, faults, close } = await open();
  await page.locator('#summary').filter({ hasText: '2 gateways, 1 workers, 2 clients' }).waitFor();
  assert.equal(await page.locator('#gateways tbody tr').count(), 2);
  assert.equal(await page.locator('#workers tbody tr').count(), 1);
  assert.equal(await page.locator('html').getAttribute('data-state'), 'ok');
  await page.locator('.tile', { hasText: 'clients' }).locator('.value').filter({ hasText: /^2$/ }).first().waitFor();
  for (let i = 0; i < 20; i += 1) await alice.type(`line ${i}`);
  // Some messages a second are in the plot, of both directions.
  const reading = page.locator('.plot', { hasText: 'messages a second' }).locator('.reading');
  await reading.filter({ hasText: /in (?!0 )\S+\s+out (?!0 )/ }).waitFor();
  assert.ok((await page.locator('.plot polyline, .plot polygon').count()) > 5);
  await page.screenshot({ path: path.join(OUT, 'dashboard.png'), fullPage: true });
  assert.deepEqual(faults, []);
  await close();
  await alice.leave();
  await bob.leave();
});

example('a client is found, shown and closed', async () => {
  const alice = await Person.enter(browser, suite.urls[0], 'alice', { room: 'found' });
  const bob = await Person.enter(browser, suite.urls[1], 'bob', { room: 'found' });
  const { page, faults, close } = await open({ colorScheme: 'light' });
  await page.selectOption('#field', 'group');
  await page.locator('#wanted').fill('found');
  await page.getByRole('button', { name: 'find' }).click();
  await page.locator('#found').filter({ hasText: '2 shown' }).waitFor();
  const rows = page.locator('#clients tbody tr');
  for (let i = 0; i < 2; i += 1) {
    await rows.nth(i).locator('button').click();
    await page.locator('#client pre').waitFor();
    if ((await page.locator('#client pre').textContent()).includes('"alice"')) break;
    await page.locator('#client').getByRole('button', { name: 'close', exact: true }).click();
  }
  const panel = page.locator('#client');
  await panel.locator('dd', { hasText: 'found' }).waitFor();
  await panel.locator('dd', { hasText: '127.0.0.1' }).first().waitFor();
  await panel.locator('.timeline li.connected', { hasText: 'from 127.0.0.1' }).waitFor();
  await page.screenshot({ path: path.join(OUT, 'dashboard-client.png') });
  page.once('dialog', (dialog) => dialog.dismiss());
  await panel.getByRole('button', { name: 'close this client' }).click();
  assert.equal(await alice.state.textContent(), 'online', 'the question was answered with no');
  page.once('dialog', (dialog) => dialog.accept());
  await panel.getByRole('button', { name: 'close this client' }).click();
  await alice.sees('the server has closed the connection: you were removed from the room');
  await panel.locator('[role=status]').filter({ hasText: 'closed' }).waitFor();
  assert.equal(await bob.state.textContent(), 'online');
  // It is gone, and what happened to it is still known.
  const id = await panel.locator('h2').textContent();
  await panel.getByRole('button', { name: 'close', exact: true }).click();
  await page.evaluate((row) => document.querySelectorAll('#clients tbody tr')[row].click(), await rows.evaluateAll((all, wanted) => all.findIndex((row) => row.textContent.includes(wanted)), id));
  await panel.locator('.timeline li.closed', { hasText: 'back end' }).waitFor();
  assert.deepEqual(faults, []);
  await close();
  await alice.leave();
  await bob.leave();
});

example('a phone and a Chinese browser', async () => {
  const { page, faults, close } = await open({ ...PHONE, locale: 'zh-CN' });
  await page.locator('#summary').filter({ hasText: '2 个网关' }).waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-Hans');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth), false);
  await page.screenshot({ path: path.join(OUT, 'dashboard-phone.png'), fullPage: true });
  await page.locator('#language').click();
  await page.locator('#summary').filter({ hasText: '2 gateways' }).waitFor();
  assert.deepEqual(faults, []);
  await close();
});

example('--read-only closes nobody', async () => {
  const alice = await Person.enter(browser, suite.urls[0], 'alice', { room: 'kept' });
  const other = await startDashboard(suite, ['--read-only']);
  const { origin, hash } = new URL(other.url);
  const headers = { Authorization: `Bearer ${hash.slice('#token='.length)}`, 'Content-Type': 'application/json' };
  const { clients } = await (await fetch(`${origin}/api/clients?group=kept`, { headers })).json();
  assert.equal(clients.length, 1);
  const body = JSON.stringify({ code: 4403, reason: 'kicked' });
  const answer = await fetch(`${origin}/api/clients/${clients[0].client}/close`, { method: 'POST', headers, body });
  assert.equal(answer.status, 403);
  for (const query of ['ip=x', 'id=x', 'queued=-1', 'limit=x', 'from=x']) {
    assert.equal((await fetch(`${origin}/api/clients?${query}`, { headers })).status, 400, query);
  }
  other.stop();
  assert.equal(await alice.state.textContent(), 'online');
  await alice.leave();
});

example('a killed gateway is a finding with the next step', async () => {
  const { page, close } = await open();
  await page.locator('#summary').filter({ hasText: '2 gateways' }).waitFor();
  await suite.gateways[1].stop('SIGKILL');
  await page.locator('.finding').first().waitFor();
  assert.notEqual(await page.locator('html').getAttribute('data-state'), 'ok');
  assert.match(await page.locator('.finding .next').first().textContent(), /next: \S+/);
  await page.screenshot({ path: path.join(OUT, 'dashboard-finding.png') });
  await close();
});
