// What pusher-js makes of each way in which a connection ends: pusher-js is the judge of the codes.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { closeCode, environment, next } from './scenarios.mjs';
import { startSuite } from './suite.mjs';

const Pusher = createRequire(import.meta.url)('pusher-js');
const FLAGS = [
  '--no-worker-timeout', '1', '--max-messages-per-second', '50', '--rate-policy', 'disconnect',
  '--websocket-ping', '2',
];

let suite;
let world;
before(async () => {
  suite = await startSuite(FLAGS);
  world = environment({ port: suite.port, application: '', make: () => Pusher });
});
const createWebSocket = Pusher.Runtime.createWebSocket;
afterEach(() => {
  Pusher.Runtime.createWebSocket = createWebSocket;
  world.close();
});
after(() => suite?.stop());

/** The states after the connection has ended, until it is connected again or gives up. */
function outcome(pusher) {
  return next('connected or disconnected', (done) => {
    pusher.connection.bind('state_change', ({ current }) => {
      if (current === 'connected' || current === 'disconnected') done(current);
    });
  });
}

/** Fails if it tries to connect again. */
async function staysAway(pusher) {
  const tries = [];
  pusher.connection.bind('state_change', ({ current }) => tries.push(current));
  // Longer than the second after which pusher-js comes back where it does.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  assert.deepEqual(tries, []);
  assert.equal(pusher.connection.state, 'disconnected');
}

/** Lets pusher-js connect to another URL than its own. */
function connectTo(change) {
  Pusher.Runtime.createWebSocket = (url) => createWebSocket.call(Pusher.Runtime, change(url));
}

const refused = [
  ['unknown key', { key: 'unknown' }, 4001],
  ['disabled app', { key: 'disabled-key' }, 4003],
  ['path that is no application', {}, 4005, (url) => url.replace('/app-key', '/app-key/more')],
  ['protocol that is no number', {}, 4006, (url) => url.replace('protocol=7', 'protocol=seven')],
  ['protocol of the future', {}, 4007, (url) => url.replace('protocol=7', 'protocol=8')],
  ['no authorization in time', { key: 'strict-key', wait: true }, 4009],
];
for (const [cause, options, code, change] of refused) {
  test(`${cause}: ${code}, and pusher-js stops for good`, { timeout: 60_000 }, async () => {
    if (change) connectTo(change);
    const pusher = await world.connect({ wait: false, ...options });
    const ended = outcome(pusher);
    assert.equal(await closeCode(pusher), code);
    assert.equal(await ended, 'disconnected');
    await staysAway(pusher);
  });
}

test('app with its last connection taken: 4004, and pusher-js stops for good', { timeout: 60_000 }, async () => {
  const first = await world.connect({ key: 'small-key' });
  await next('connected', (done) => first.connection.bind('connected', done));
  const second = await world.connect({ key: 'small-key' });
  const ended = outcome(second);
  assert.equal(await closeCode(second), 4004);
  assert.equal(await ended, 'disconnected');
  await staysAway(second);
});

test('no answer to pings: 4201, and pusher-js comes back', { timeout: 60_000 }, async () => {
  const pusher = await world.connect();
  const [code, ended] = [closeCode(pusher), outcome(pusher)];
  // The process does nothing at all, as that of a computer that sleeps.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 8000);
  assert.equal(await code, 4201);
  assert.equal(await ended, 'connected');
});

const mistakes = [
  ['binary message', 1003, (pusher) => pusher.connection.connection.transport.socket.send(Buffer.from('{}'))],
  ['more malformed messages than are answered', 4100, (pusher) => {
    for (let at = 0; at < 30; at += 1) pusher.send_event('pusher:nonsense', {});
  }],
];
for (const [cause, code, make] of mistakes) {
  test(`${cause}: ${code}, and pusher-js comes back`, { timeout: 60_000 }, async () => {
    const pusher = await world.connect();
    const [closed, ended] = [closeCode(pusher), outcome(pusher)];
    make(pusher);
    assert.equal(await closed, code);
    assert.equal(await ended, 'connected');
  });
}

test('rate limit of the gateway: 4301, and pusher-js stops for good', { timeout: 60_000 }, async () => {
  const pusher = await world.connect();
  const [code, ended] = [closeCode(pusher), outcome(pusher)];
  for (let at = 0; at < 500; at += 1) pusher.send_event('pusher:ping', {});
  assert.equal(await code, 4301);
  assert.equal(await ended, 'disconnected');
  await staysAway(pusher);
});

test('no worker: 4100, and pusher-js comes back', { timeout: 60_000 }, async () => {
  const pusher = await world.connect();
  const [code, ended] = [closeCode(pusher), outcome(pusher)];
  await suite.worker.stop('SIGKILL');
  pusher.send_event('pusher:ping', {});
  assert.equal(await code, 4100);
  suite.worker.start();
  await suite.worker.ready();
  assert.equal(await ended, 'connected');
});

test('worker replaced: the connection stays', { timeout: 60_000 }, async () => {
  const pusher = await world.connect();
  const states = [];
  pusher.connection.bind('state_change', ({ current }) => states.push(current));
  const id = pusher.connection.socket_id;
  await suite.worker.stop();
  suite.worker.start();
  await suite.worker.ready();
  const channel = pusher.subscribe('news');
  await next('a subscription', (done) => channel.bind('pusher:subscription_succeeded', done));
  assert.deepEqual(states, []);
  assert.equal(pusher.connection.socket_id, id);
});

test('gateway drained: 4200, and pusher-js comes back to the next one', { timeout: 60_000 }, async () => {
  const pusher = await world.connect();
  const channel = pusher.subscribe('news');
  const subscription = () => next('a subscription', (done) => channel.bind('pusher:subscription_succeeded', done));
  await subscription();
  const before = pusher.connection.socket_id;
  const [code, ended, again] = [closeCode(pusher), outcome(pusher), subscription()];
  await suite.gateway.stop();
  suite.gateway.start();
  await suite.gateway.ready();
  assert.equal(await code, 4200);
  assert.equal(await ended, 'connected');
  await again;
  assert.notEqual(pusher.connection.socket_id, before);
});
