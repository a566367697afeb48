// The package against the suite: in place of pusher-js, and when gateways end.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import Echo from 'laravel-echo';
import Client from 'push-suite-client';
import { startApplication } from '../application.mjs';
import { closeCode, environment, next, scenarios } from '../scenarios.mjs';
import { startSuite } from '../suite.mjs';
import { FakeServer } from './fake_server.mjs';

const SUBSCRIBED = 'pusher:subscription_succeeded';

let suite;
let application;
let world;
before(async () => {
  suite = await startSuite([], { gateways: 2 });
  application = await startApplication(suite.http);
});
afterEach(() => world?.close());
after(async () => {
  await application?.stop();
  await suite?.stop();
});

const names = Object.keys(scenarios).filter((name) => !name.startsWith('encrypted'));
for (const name of names) {
  test(`in place of pusher-js: ${name}`, { timeout: 90_000 }, async () => {
    world = environment({ port: suite.port, application: application.url, make: () => Client, Echo, encrypts: false });
    await scenarios[name](world);
  });
}

/** A client of both gateways, and what its hooks report. */
function connect(options = {}) {
  const calls = [];
  const client = new Client('app-key', {
    hosts: suite.ports.map((port) => `127.0.0.1:${port}`), forceTLS: false,
    channelAuthorization: { endpoint: `${application.url}/auth`, params: { user: 'ann' } },
    onGap: (...args) => calls.push(args),
    ...options,
  });
  world = { close: () => client.disconnect() };
  return { client, calls };
}

const state = (client, wanted) => next(wanted, (done) => client.connection.bind(wanted, () => done(wanted)));
const event = (target, name) => next(name, (done) => target.bind(name, done));

test('gateway that is killed: on at the other, and what was triggered meanwhile arrives', { timeout: 90_000 }, async () => {
  const { client, calls } = connect();
  const other = new Client('app-key', {
    hosts: [`127.0.0.1:${suite.ports[1]}`], forceTLS: false,
    channelAuthorization: { endpoint: `${application.url}/auth`, params: { user: 'bob' } },
  });
  const [mine, theirs] = [client, other].map((each) => each.subscribe('presence-room'));
  await Promise.all([mine, theirs].map((channel) => event(channel, SUBSCRIBED)));
  const said = [];
  const all = next('three client events', (done) => theirs.bind('client-say', (data) => said.push(data) === 3 && done()));
  const lost = state(client, 'unavailable');
  const back = event(mine, SUBSCRIBED);
  await suite.gateways[0].stop('SIGKILL');
  await lost;
  for (const text of ['one', 'two', 'three']) assert.equal(mine.trigger('client-say', text), true);
  const members = await back;
  assert.deepEqual([members.count, members.me.id], [2, 'ann']);
  await all;
  assert.deepEqual(said, ['one', 'two', 'three']);
  // Without history, what was sent meanwhile is missing, and that is reported.
  assert.deepEqual(calls, [['presence-room', 'unavailable']]);
  other.disconnect();
  suite.gateways[0].start();
  await suite.gateways[0].ready();
});

test('gateway that drains: back at the other in the time that it names', { timeout: 90_000 }, async () => {
  const { client, calls } = connect();
  const channel = client.subscribe('news');
  await event(channel, SUBSCRIBED);
  const ended = next('a close', (done) => client.connection.bind('error', ({ data }) => done(data)));
  const back = event(channel, SUBSCRIBED);
  const stopped = suite.gateways[0].stop();
  const { code, message } = await ended;
  assert.equal(code, 4200);
  assert.match(message, /^retry-after=/);
  await back;
  await stopped;
  const received = event(channel, 'hello');
  await fetch(`${application.url}/publish`, {
    method: 'POST', body: JSON.stringify({ channel: 'news', name: 'hello', data: { text: 'again' } }),
  });
  assert.deepEqual(await received, { text: 'again' });
  assert.deepEqual(calls, [['news', 'unavailable']]);
  suite.gateways[0].start();
  await suite.gateways[0].ready();
});

test('worker that is replaced is not noticed', { timeout: 90_000 }, async () => {
  const { client, calls } = connect();
  const first = client.subscribe('first');
  await event(first, SUBSCRIBED);
  await suite.worker.stop();
  suite.worker.start();
  await suite.worker.ready();
  await event(client.subscribe('second'), SUBSCRIBED);
  assert.deepEqual([client.connection.state, first.subscribed, calls], ['connected', true, []]);
});

test('refusals end the connection', { timeout: 90_000 }, async () => {
  for (const [key, code] of [['unknown', 4001], ['disabled-key', 4003], ['strict-key', 4009]]) {
    const client = new Client(key, { hosts: [`127.0.0.1:${suite.port}`], forceTLS: false });
    assert.equal(await closeCode(client), code);
    assert.equal(client.connection.state, 'disconnected');
  }
});

test('codes of other servers are as Node reads them: 1012 with a time', { timeout: 30_000 }, async () => {
  const server = await FakeServer.start();
  const client = new Client('key', { hosts: [`127.0.0.1:${server.port}`], forceTLS: false });
  world = { close: () => client.disconnect() };
  await state(client, 'connected');
  const ended = next('a close', (done) => client.connection.bind('error', ({ data }) => done(data)));
  const back = state(client, 'connected');
  for (const peer of server.peers) peer.close(1012, 'retry-after=0.2');
  assert.deepEqual(await ended, { code: 1012, message: 'retry-after=0.2' });
  await back;
  client.disconnect();
  await server.stop();
});
