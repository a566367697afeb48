// How the page is served: a policy on every response, nothing inline, nothing from other origins.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'";

// Of the page itself, for a server without the header: it cannot name the gateways.
const POLICY_OF_PAGE = POLICY.replace("connect-src 'self'", "connect-src 'self' ws: wss:");

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  webmanifest: 'application/manifest+json',
  png: 'image/png',
};

const example = chatAndBrowser();

example('every file has the policy and the right content type', async ({ url, open }) => {
  const asked = new Set([new URL('index.html', url).href, new URL('manifest.webmanifest', url).href, new URL('favicon.svg', url).href]);
  const reader = await open({ prepare: async (page) => page.on('request', (request) => asked.add(request.url().split('#')[0])) });
  await reader.logIn('alice');
  assert.ok(asked.size > 15, [...asked].join(' '));
  for (const address of asked) {
    if (address.startsWith('ws')) continue;
    assert.equal(new URL(address).origin, new URL(url).origin);
    const answer = await fetch(address);
    assert.equal(answer.status, 200, address);
    assert.equal(answer.headers.get('content-security-policy'), `${POLICY}; frame-ancestors 'none'`, address);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff', address);
    const name = new URL(address).pathname.split('/').at(-1) || 'index.html';
    assert.equal(answer.headers.get('content-type'), TYPES[name.split('.').at(-1)], address);
  }
});

example('a second visit asks for nothing but the page, and text is compressed', async ({ browser, url }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const sizes = [];
  page.on('response', async (response) => {
    if (response.url().endsWith('.js')) sizes.push([response.url(), response.headers()['content-encoding']]);
  });
  await page.goto(url, { waitUntil: 'networkidle' });
  assert.ok(sizes.length > 10);
  // The smallest ones fit into a packet as they are.
  assert.ok(sizes.filter(([, encoding]) => encoding === 'gzip').length > 10, sizes.join('\n'));
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  const [fetched, cached] = [new Map(), new Set()];
  session.on('Network.requestWillBeSent', ({ requestId, request }) => fetched.set(requestId, new URL(request.url).pathname));
  session.on('Network.requestServedFromCache', ({ requestId }) => cached.add(requestId));
  session.on('Network.responseReceived', ({ requestId, response }) => response.fromDiskCache && cached.add(requestId));
  await page.goto('about:blank');
  await page.goto(url, { waitUntil: 'networkidle' });
  const asked = [...fetched].filter(([id]) => !cached.has(id)).map(([, path]) => path);
  assert.deepEqual(asked.filter((path) => /\.(js|css)$/.test(path)), []);
  assert.ok(asked.includes('/'), asked.join());
  await context.close();
});

example('no script and no style in the page itself', async ({ url, enter }) => {
  const html = await (await fetch(url)).text();
  assert.ok(html.includes(`content="${POLICY_OF_PAGE}"`));
  const alice = await enter('alice');
  await alice.type('/help');
  await alice.sees('/join ROOM');
  const inline = await alice.page.evaluate(() => ({
    scripts: [...document.scripts].filter((script) => !script.src || script.textContent.trim()).length,
    styles: document.querySelectorAll('style').length,
    handlers: [...document.querySelectorAll('*')].flatMap((each) => [...each.attributes]).filter(({ name }) => name.startsWith('on')).length,
  }));
  assert.deepEqual(inline, { scripts: 0, styles: 0, handlers: 0 });
  assert.doesNotMatch(html, /\sstyle=/);
});

example('the policy holds: a script put into the page does not run', async ({ open }) => {
  const reader = await open();
  const blocked = await reader.page.evaluate(async () => {
    const script = document.createElement('script');
    script.textContent = 'window.__pwned = "inline"';
    document.body.append(script);
    document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.__pwned = 1">');
    await new Promise((resolve) => setTimeout(resolve, 200));
    return globalThis.violations.splice(0);
  });
  assert.ok(blocked.some((each) => each.startsWith('script-src')), blocked.join());
  reader.faults.length = 0;
});

example('an unknown path is 404, with the policy', async ({ url }) => {
  for (const path of ['nothing.js', '../Cargo.toml', '%2e%2e/Cargo.toml', 'index.html/x']) {
    const answer = await fetch(new URL(path, url));
    assert.equal(answer.status, 404, path);
    assert.equal(answer.headers.get('content-security-policy'), `${POLICY}; frame-ancestors 'none'`, path);
  }
});
