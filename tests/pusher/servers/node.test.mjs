// npm's `pusher`, the server SDK, against the suite.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import Pusher from 'pusher';
import { Subscriber } from './subscriber.mjs';

const { PUSHER_HTTP_PORT: port, PUSHER_KEY: key, PUSHER_SECRET: secret } = process.env;
const masterKey = Buffer.alloc(32, 7).toString('base64');
const pusher = new Pusher({
  appId: '1', key, secret, host: '127.0.0.1', port, useTLS: false,
  encryptionMasterKeyBase64: masterKey,
});

const authorize = (data) => (socketId, channel) => pusher.authorizeChannel(socketId, channel, data);
const get = async (path, params) => (await pusher.get({ path, params })).json();

// The options of docs/pusher.md, as they are written there.
test('documented options are those of this API', async () => {
  const row = fs.readFileSync(process.env.PUSHER_DOCUMENT, 'utf8').match(/^\| node \| `(.*)` \|$/m)[1];
  const make = new Function('Pusher', 'appId', 'key', 'secret', `return ${row.replace('8080', port)}`);
  const answer = await make(Pusher, '1', key, secret).trigger('a', 'e', {});
  assert.deepEqual(await answer.json(), {});
});

test('trigger reaches the channels once, except the excluded client', async () => {
  const [one, two] = [await Subscriber.connect(), await Subscriber.connect()];
  for (const subscriber of [one, two]) {
    await subscriber.subscribe('private-a', authorize());
    await subscriber.subscribe('b');
  }
  const response = await pusher.trigger(['private-a', 'b', 'b'], 'e', { x: 1 }, { socket_id: one.socketId });
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), {});
  await pusher.trigger('b', 'last', 'text');
  const events = [await two.next(), await two.next(), await two.next()];
  const expected = [['e', 'private-a', '{"x":1}'], ['e', 'b', '{"x":1}'], ['last', 'b', 'text']];
  assert.deepEqual(events.map(({ event, channel, data }) => [event, channel, data]), expected);
  assert.equal((await one.next()).event, 'last');
  [one, two].forEach((subscriber) => subscriber.close());
});

test('batch, info and queries', async () => {
  const subscriber = await Subscriber.connect();
  await subscriber.subscribe('c');
  const batch = [{ channel: 'c', name: 'e1', data: 1 }, { channel: 'c', name: 'e2', data: 2, info: 'subscription_count' }];
  const answer = await (await pusher.triggerBatch(batch)).json();
  assert.deepEqual(answer, { batch: [{}, { subscription_count: 1 }] });
  assert.equal((await subscriber.next()).event, 'e1');
  assert.equal((await subscriber.next()).event, 'e2');
  const info = { info: 'subscription_count' };
  const triggered = await (await pusher.trigger(['c', 'd'], 'e', {}, info)).json();
  assert.deepEqual(triggered.channels, { c: { subscription_count: 1 }, d: { subscription_count: 0 } });
  assert.deepEqual(await get('/channels/c', info), { occupied: true, subscription_count: 1 });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'c' }), { channels: { c: {} } });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'zzz' }), { channels: {} });
  subscriber.close();
});

test('user receives what is sent to it, and is terminated', async () => {
  const subscriber = await Subscriber.connect();
  await subscriber.signIn('u-1', (socketId) => pusher.authenticateUser(socketId, { id: 'u-1' }));
  await pusher.sendToUser('u-1', 'e', { x: 1 });
  assert.equal((await subscriber.next('e')).data, '{"x":1}');
  assert.equal((await pusher.terminateUserConnections('u-1')).status, 200);
  assert.equal((await subscriber.next('closed')).code, 4009);
});

test('encrypted event passes through', async () => {
  const subscriber = await Subscriber.connect();
  await subscriber.subscribe('private-encrypted-x', (socketId, channel) => {
    const { auth, shared_secret } = pusher.authorizeChannel(socketId, channel);
    assert.equal(shared_secret, 'QBLmxUha0AEqZM0+A5PNJXDxZBx3jy3Nx0o1EY1y36I=');
    return { auth };
  });
  await pusher.trigger('private-encrypted-x', 'e', { secret: 1 });
  const { data } = await subscriber.next('e');
  assert.deepEqual(Object.keys(JSON.parse(data)).sort(), ['ciphertext', 'nonce']);
  subscriber.close();
});

test('refusal is shown by the SDK', async () => {
  const wrong = new Pusher({ appId: '1', key, secret: 'guess', host: '127.0.0.1', port, useTLS: false });
  await assert.rejects(wrong.trigger('a', 'e', {}), (error) =>
    error.status === 401 && error.body.startsWith('Invalid signature'));
  await assert.rejects(pusher.trigger('a', 'e', 'x'.repeat(10_241)), (error) =>
    error.status === 413 && error.body.includes('content of this event'));
});

test('webhook is valid', async () => {
  const subscriber = await Subscriber.connect();
  await subscriber.subscribe('cache-node');
  const lines = () => fs.readFileSync(process.env.WEBHOOKS, 'utf8').trim().split('\n').filter(Boolean);
  const find = () => lines().map((line) => JSON.parse(line)).find(({ body }) => body.includes('cache-node'));
  while (!find()) await new Promise((wake) => setTimeout(wake, 50));
  const { headers, body } = find();
  assert.ok('X-Pusher-Key' in headers && 'X-Pusher-Signature' in headers, 'as PHP reads them');
  const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const webhook = pusher.webhook({ headers: lower, rawBody: body });
  assert.ok(webhook.isValid());
  assert.deepEqual(webhook.getEvents(), [{ name: 'cache_miss', channel: 'cache-node' }]);
  const forged = pusher.webhook({ headers: lower, rawBody: body.replace('node', 'nude') });
  assert.ok(!forged.isValid());
  subscriber.close();
});
