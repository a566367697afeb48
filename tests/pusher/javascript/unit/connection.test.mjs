// The connection over time: attempts, silence, the network and the page around it.

import assert from 'node:assert/strict';
import { asleep, example, pass, settle, tick } from './world.mjs';

example('connects to the app with protocol 7, and has a socket id', ({ client, socket }) => {
  const it = client({ hosts: ['push.test:7272'], forceTLS: false });
  const url = new URL(socket().url);
  assert.equal(`${url.protocol}//${url.host}${url.pathname}`, 'ws://push.test:7272/app/key');
  assert.equal(url.searchParams.get('protocol'), '7');
  assert.deepEqual(socket().protocols, []);
  socket().establish('12.34');
  assert.equal(it.connection.socket_id, '12.34');
  assert.deepEqual([it.connection.state, it.states], ['connected', ['connected']]);
});

example('options of pusher-js name the server', ({ client, socket }) => {
  const host = { hosts: undefined, wsHost: 'h', wsPort: 1, wssPort: 2 };
  client({ ...host, forceTLS: false, wsPath: '/behind' });
  assert.ok(socket().url.startsWith('ws://h:1/behind/app/key?'), socket().url);
  client({ ...host, forceTLS: true });
  assert.ok(socket().url.startsWith('wss://h:2/app/key?'), socket().url);
  client({ hosts: ['wss://h/behind/'] });
  assert.ok(socket().url.startsWith('wss://h/behind/app/key?'), socket().url);
  assert.throws(() => client({ hosts: [] }), /no server/);
  assert.throws(() => client({ hosts: undefined }), /no server/);
});

example('lost connection comes back within a second, then with growing waits', ({ client, sockets, socket, random }) => {
  random(1);
  const it = client();
  const waits = [];
  it.connection.bind('connecting_in', (seconds) => waits.push(seconds));
  for (const wait of [1, 2, 4, 8, 16, 30, 30]) {
    socket().end();
    assert.equal(it.connection.state, 'unavailable');
    tick(wait * 1_000 - 1);
    const before = sockets.length;
    tick(1);
    assert.equal(sockets.length, before + 1, `${wait} s`);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 30, 30]);
});

example('waits begin anew only after a connection that lasted', ({ client, sockets, socket, random }) => {
  random(1);
  client();
  socket().end();
  tick(1_000);
  socket().establish();
  tick(4_999);
  socket().end();
  tick(1_999);
  assert.equal(sockets.length, 2);
  tick(1);
  socket().establish();
  tick(5_000);
  socket().end();
  tick(1_000);
  assert.equal(sockets.length, 4);
});

example('servers of the list take turns after each failure', ({ client, sockets, socket }) => {
  client({ hosts: ['a.test', 'b.test'] });
  for (let at = 0; at < 3; at += 1) {
    socket().end();
    tick(5_000);
  }
  assert.deepEqual(sockets.map(({ url }) => new URL(url).host), ['a.test', 'b.test', 'a.test', 'b.test']);
});

example('refused connection stays away until connect, and says why', ({ client, sockets, socket }) => {
  const it = client();
  const errors = [];
  it.connection.bind('error', (error) => errors.push(error.data));
  socket().end(4001, 'no such app');
  tick(600_000);
  assert.deepEqual([sockets.length, it.connection.state], [1, 'disconnected']);
  assert.deepEqual(errors, [{ code: 4001, message: 'no such app' }]);
  it.connect();
  assert.equal(sockets.length, 2);
});

example('refusal as a first message counts as the close code', ({ client, sockets, socket }) => {
  const it = client();
  socket().readyState = 1;
  socket().tell('pusher:error', { data: { code: 4004, message: 'full' } });
  tick(600_000);
  assert.deepEqual([sockets.length, it.connection.state], [1, 'disconnected']);
});

example('error during a connection is reported and changes nothing', ({ client, socket }) => {
  const it = client();
  const errors = [];
  it.connection.bind('error', ({ data }) => errors.push(data));
  socket().establish();
  socket().tell('pusher:error', { data: { code: 4301, message: 'too fast' } });
  assert.deepEqual(errors, [{ code: 4301, message: 'too fast' }]);
  assert.equal(it.connection.state, 'connected');
});

example('time that the server names counts, even for a page that is shown again', ({ client, sockets, socket, show }) => {
  client();
  socket().establish();
  tick(10_000);
  socket().end(4200, 'retry-after=7.5');
  show(false);
  show(true);
  tick(7_499);
  assert.equal(sockets.length, 1);
  tick(1);
  assert.equal(sockets.length, 2);
});

example('4200 comes back at once, and with back-off if it repeats', ({ client, sockets, socket }) => {
  client();
  socket().establish();
  tick(10_000);
  socket().end(4200);
  tick(0);
  assert.equal(sockets.length, 2);
  socket().end(4200);
  tick(999);
  assert.equal(sockets.length, 2);
  tick(1);
  assert.equal(sockets.length, 3);
});

example('4100 waits for a second at least', ({ client, sockets, socket, random, network }) => {
  random(0);
  client();
  socket().end(4100);
  network(true);
  tick(999);
  assert.equal(sockets.length, 1);
  tick(1);
  assert.equal(sockets.length, 2);
});

example('socket that does not open in time is given up', ({ client, sockets }) => {
  const it = client();
  tick(9_999);
  assert.equal(it.connection.state, 'connecting');
  tick(1);
  assert.equal(it.connection.state, 'unavailable');
  assert.equal(sockets[0].closed, 1000);
  tick(1_000);
  assert.equal(sockets.length, 2);
  sockets[0].establish();
  assert.equal(it.connection.state, 'connecting', 'an old socket counts no more');
});

example('failed handshake without a close event is a loss, and one error behind it is none', ({ client, sockets, socket }) => {
  client();
  socket().onerror({});
  tick(1_000);
  assert.equal(sockets.length, 2);
  socket().establish();
  socket().onerror({});
  assert.equal(sockets[1].closed, null);
});

example('silence is followed by a ping, and no answer by a new connection', ({ client, sockets, socket }) => {
  const it = client({ pongTimeout: 3_000 });
  socket().establish('1.1', 10);
  tick(6_000);
  socket().tell('some-event');
  tick(9_999);
  assert.deepEqual(socket().of('pusher:ping'), []);
  tick(1);
  assert.deepEqual(socket().of('pusher:ping'), [{}]);
  socket().tell('pusher:pong', { data: '{}' });
  tick(10_000);
  assert.equal(socket().of('pusher:ping').length, 2);
  tick(2_999);
  assert.equal(it.connection.state, 'connected');
  tick(1);
  assert.equal(it.connection.state, 'unavailable');
  tick(1_000);
  assert.equal(sockets.length, 2);
});

example('ping of the server is answered', ({ client, socket }) => {
  client();
  socket().establish();
  socket().tell('pusher:ping', { data: '{}' });
  assert.deepEqual(socket().of('pusher:pong'), [{}]);
});

example('device that was asleep gets its answer soon, or connects again', ({ client, socket }) => {
  const it = client();
  socket().establish('1.1', 60);
  asleep(3_600_000);
  assert.equal(socket().of('pusher:ping').length, 1);
  tick(4_999);
  assert.equal(it.connection.state, 'connected');
  tick(1);
  assert.equal(it.connection.state, 'unavailable');
});

example('without a network there are few attempts, and one at once when it is back', ({ client, sockets, socket, network }) => {
  const it = client();
  socket().establish();
  tick(10_000);
  network(false);
  assert.equal(socket().of('pusher:ping').length, 1, 'the connection may have survived');
  tick(5_000);
  assert.equal(it.connection.state, 'unavailable');
  tick(14_999);
  assert.equal(sockets.length, 1, 'half of thirty seconds');
  network(true);
  tick(0);
  assert.equal(sockets.length, 2);
});

example('connection that survives a change of the network stays', ({ client, sockets, socket, network }) => {
  const it = client();
  socket().establish();
  tick(10_000);
  network(false);
  socket().tell('pusher:pong');
  network(true);
  tick(60_000);
  assert.deepEqual([sockets.length, it.connection.state], [1, 'connected']);
});

example('hidden page has few attempts, and one at once when it is shown', ({ client, sockets, socket, show }) => {
  client();
  socket().establish();
  tick(10_000);
  show(false);
  socket().end(4200);
  tick(14_999);
  assert.equal(sockets.length, 1);
  show(true);
  tick(0);
  assert.equal(sockets.length, 2);
  show(false);
  show(true);
  assert.equal(sockets.length, 2);
});

example('page that is shown asks a connection that was silent', ({ client, socket, show }) => {
  const it = client();
  socket().establish();
  show(false);
  show(true);
  assert.deepEqual(socket().of('pusher:ping'), []);
  tick(6_000);
  show(false);
  show(true);
  assert.equal(socket().of('pusher:ping').length, 1);
  tick(5_000);
  assert.equal(it.connection.state, 'unavailable');
});

example('disconnected client opens nothing more, whatever happens', async ({ client, sockets, socket, network, show, listeners }) => {
  const it = client();
  socket().establish();
  assert.equal(listeners(), 3);
  it.disconnect();
  assert.equal(listeners(), 0);
  assert.deepEqual([sockets[0].closed, it.connection.state, it.connection.socket_id], [1000, 'disconnected', undefined]);
  network(true);
  show(true);
  sockets[0].end();
  await pass(600_000);
  assert.equal(sockets.length, 1);
});

example('token is requested for each connection, and a new one if it has expired', async ({ client, sockets, socket }) => {
  const asked = [];
  const it = client({ token: async (request) => `t${asked.push(request)}` });
  await settle();
  assert.equal(new URL(socket().url).searchParams.get('token'), 't1');
  socket().establish();
  await pass(10_000);
  socket().end(4009, 'token expired');
  await pass(0);
  assert.equal(new URL(socket().url).searchParams.get('token'), 't2');
  // Refused again: with back-off, so that a wrong clock is no storm.
  socket().end(4401, 'token expired');
  await pass(999);
  assert.equal(sockets.length, 2);
  await pass(1);
  socket().establish();
  await pass(10_000);
  socket().end(1006);
  await pass(1_000);
  assert.deepEqual(asked, [{ expired: false }, { expired: true }, { expired: true }, { expired: false }]);
  socket().end(4403, 'token revoked');
  await pass(60_000);
  assert.deepEqual([sockets.length, it.connection.state], [4, 'disconnected']);
});

example('expired connection ends without a function that renews its token', async ({ client, sockets, socket }) => {
  client();
  socket().establish();
  socket().end(4401, 'token expired');
  await pass(600_000);
  assert.equal(sockets.length, 1);
});

example('token goes as a subprotocol beside the one that is named', async ({ client, socket }) => {
  client({ token: () => 'abc', subprotocol: 'pusher' });
  await settle();
  assert.deepEqual(socket().protocols, ['pusher', 'gw.auth.abc']);
  assert.equal(new URL(socket().url).searchParams.get('token'), null);
});

example('failure of the token is a failed attempt', async ({ client, sockets, random }) => {
  random(1);
  let failures = 2;
  client({
    token: async () => {
      if (failures-- > 0) throw new Error('login is down');
      return 'abc';
    },
  });
  await settle();
  await pass(1_000);
  assert.equal(sockets.length, 0);
  await pass(1_999);
  assert.equal(sockets.length, 0);
  await pass(1);
  assert.equal(sockets.length, 1);
});

example('environment without WebSocket is a failure with its error', async ({ client }) => {
  const it = client({ WebSocket: undefined });
  assert.equal(it.connection.state, 'failed');
});

example('notice that the token expires is answered with a new one, on the same connection', async ({ client, socket }) => {
  const errors = [];
  const tokens = ['first', 'second'];
  const it = client({
    token: async () => {
      if (tokens.length === 0) throw new Error('login is down');
      return tokens.shift();
    },
  });
  it.connection.bind('error', ({ type }) => errors.push(type));
  await settle();
  socket().establish();
  for (let notice = 0; notice < 2; notice += 1) {
    socket().tell('pusher_internal:token_expiring', { data: '{}' });
    await settle();
  }
  assert.deepEqual(socket().of('pusher:token'), [{ token: 'second' }]);
  assert.deepEqual([errors, it.connection.state], [['TokenError'], 'connected']);
});
