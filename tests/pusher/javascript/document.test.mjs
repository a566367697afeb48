// The code of docs/javascript.md, section by section, against the suite.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import Echo from 'laravel-echo';
import Client, { StoredPositions } from 'push-suite-client';
import { startApplication } from '../application.mjs';
import { next } from '../scenarios.mjs';
import { startSuite } from '../suite.mjs';
import { FakeServer } from './fake_server.mjs';

const document = readFileSync(process.env.JAVASCRIPT_DOCUMENT, 'utf8');
const run = new Set();
const open = [];

let suite;
let application;
before(async () => {
  suite = await startSuite([], { gateways: 2 });
  application = await startApplication(suite.http);
});
afterEach(() => open.splice(0).forEach((client) => client.disconnect()));
after(async () => {
  await application?.stop();
  await suite?.stop();
});

/** The blocks of JavaScript of a section. */
function blocks(title) {
  const section = document.split(/^## /m).find((each) => each.startsWith(`${title}\n`));
  return [...section.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
}

/**
 * Runs the code of a section with these values in place of the application's, and servers in place of
 * the documented ones. Returns its client, its channels and the calls of `show`.
 */
function section(title, given = {}, ports = suite.ports) {
  const shown = [];
  const waiting = [];
  const show = (...args) => {
    shown.push(args);
    waiting.splice(0).forEach((wake) => wake());
  };
  const code = blocks(title).join('\n');
  assert.notEqual(code, '', title);
  run.add(title);
  const local = code
    .replace(/^import .*;\n/gm, '')
    .replace(/'push-(\d)\.example\.com'/g, (_, at) => `'ws://127.0.0.1:${ports[at - 1]}'`)
    .replaceAll("'/broadcasting/", `'${application.url}/`);
  const names = { Client, StoredPositions, show, csrf: 'token', ...given };
  const found = ['client', 'news', 'room'].map((name) => `get ${name}() { return ${name}; }`);
  const made = new Function(...Object.keys(names), `${local}\nreturn { ${found} };`)(...Object.values(names));
  open.push(made.client);
  const sees = async (...wanted) => {
    const isWanted = (each) => wanted.every((part, at) => JSON.stringify(part) === JSON.stringify(each[at]));
    const late = setTimeout(() => waiting.forEach((wake) => wake(true)), 30_000);
    while (!shown.some(isWanted)) {
      const isLate = await new Promise((resolve) => waiting.push(resolve));
      assert.ok(!isLate, `${title}: no ${JSON.stringify(wanted)} in ${JSON.stringify(shown)}`);
    }
    clearTimeout(late);
  };
  return { made, shown, sees, client: made.client };
}

/** A client beside that of the document, as another user. */
function other(user, more = {}) {
  const params = { user, ...more };
  const client = new Client('app-key', {
    hosts: [`ws://127.0.0.1:${suite.port}`],
    channelAuthorization: { endpoint: `${application.url}/auth`, params },
    userAuthentication: { endpoint: `${application.url}/user-auth`, params },
  });
  open.push(client);
  return client;
}

const publish = (event) => fetch(`${application.url}/publish`, { method: 'POST', body: JSON.stringify(event) });
const event = (target, name) => next(name, (done) => target.bind(name, done));

test('Connect and subscribe', { timeout: 60_000 }, async () => {
  const gaps = [];
  const { made, sees, client } = section('Connect and subscribe', { reload: (...args) => gaps.push(args) });
  await sees('members', 1);
  const bob = other('bob');
  const theirs = bob.subscribe('presence-room');
  await sees('came', 'bob', 'BOB');
  const typing = event(theirs, 'client-typing');
  theirs.trigger('client-typing', {});
  await sees('typing', 'bob');
  made.room.trigger('client-typing', {});
  await typing;
  await publish({ channel: 'news', name: 'published', data: { title: 'One' } });
  await sees('article', { title: 'One' });
  // The next connection has no history: a gap of each channel.
  const back = event(made.room, 'pusher:subscription_succeeded');
  client.disconnect();
  client.connect();
  await back;
  assert.deepEqual(gaps.toSorted(), [['news', 'unavailable'], ['presence-room', 'unavailable']]);
  assert.throws(() => client.subscribe('private-encrypted-a'));
});

test('Users', { timeout: 60_000 }, async () => {
  const { sees, client } = section('Users');
  await client.user.signinDonePromise;
  await event(client.user.serverToUserChannel, 'pusher:subscription_succeeded');
  await publish({ channel: '#server-to-user-ann', name: 'hello', data: 7 });
  await sees('hello', 7);
});

test('When the connection is lost', { timeout: 60_000 }, async () => {
  const client = other('ann');
  const found = section('When the connection is lost', { client, news: null, room: null });
  await found.sees('connected', 'connecting');
  client.send_event('pusher:nonsense', {});
  await found.sees('PusherError');
});

test('Nothing missed', { timeout: 60_000 }, async () => {
  const server = await FakeServer.start();
  const kept = new Map();
  const sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  const pages = [section('Nothing missed', { sessionStorage }, [server.port])];
  await event(pages[0].client.channel('news'), 'pusher:subscription_succeeded');
  pages[0].client.disconnect();
  for (const line of ['one', 'two']) server.publish('news', line);
  pages.push(section('Nothing missed', { sessionStorage }, [server.port]));
  await pages[1].sees('recovered', 'news', 2);
  pages[1].client.disconnect();
  await server.stop();
});

test('Tokens', { timeout: 60_000 }, async () => {
  const server = await FakeServer.start();
  const asked = [];
  const login = { token: async (request) => `token-${asked.push(request)}` };
  const { client } = section('Tokens', { login }, [server.port]);
  await event(client.connection, 'connected');
  const again = event(client.connection, 'connected');
  for (const peer of server.peers) peer.close(4401, 'token expired');
  await again;
  assert.deepEqual(asked, [{ fresh: false }, { fresh: true }]);
  const tokens = server.targets.map((target) => new URL(target, 'http://a').searchParams.get('token'));
  assert.deepEqual(tokens, ['token-1', 'token-2']);
  client.disconnect();
  await server.stop();
});

test('From pusher-js: Laravel Echo takes the class, and ignores what it does not have', { timeout: 60_000 }, async () => {
  assert.match(document, /new Echo\(\{ broadcaster: 'pusher', Pusher, … \}\)/);
  const echo = new Echo({
    broadcaster: 'pusher', Pusher: Client, key: 'app-key', wsHost: '127.0.0.1', wsPort: suite.port, forceTLS: false,
    cluster: '', enabledTransports: ['ws', 'wss'], disableStats: true,
  });
  open.push(echo);
  const channel = echo.channel('orders');
  await next('subscribed', (done) => channel.subscribed(() => done(true)));
});

test('every block of the document has run', () => {
  const sections = document.split(/^## /m).slice(1).map((each) => each.split('\n')[0]);
  assert.deepEqual(sections.filter((title) => blocks(title).length > 0), [...run]);
  assert.equal(document.match(/^```js$/gm).length, sections.flatMap(blocks).length);
});
