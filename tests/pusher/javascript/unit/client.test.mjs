// Channels, their recovery and their hooks, and what is sent.

import assert from 'node:assert/strict';
import { StoredPositions } from '../../../../web/client/index.js';
import { example, pass, settle, tick } from './world.mjs';

const at = (offset, epoch = 'e') => ({ epoch, offset });
const SUCCEEDED = 'pusher_internal:subscription_succeeded';

/** Hooks that note their calls. */
function noted() {
  const calls = [];
  return {
    calls,
    onGap: (...args) => calls.push(['gap', ...args]),
    onRecovered: (...args) => calls.push(['recovered', ...args]),
  };
}

/** A connection that comes back. */
async function again(socket) {
  socket().end();
  await pass(1_000);
  socket().establish('1.2');
  await settle();
}

example('public channel is subscribed to on every connection, before and after', async ({ client, socket }) => {
  const it = client();
  const channel = it.subscribe('news');
  assert.deepEqual(socket().sent, []);
  socket().establish();
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news' }]);
  it.subscribe('news');
  assert.equal(socket().sent.length, 1, 'once');
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}' });
  assert.equal(channel.subscribed, true);
  await again(socket);
  assert.equal(channel.subscribed, false);
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news' }]);
});

example('events reach handlers of their channel, of the client, and those for every event', async ({ client, socket }) => {
  const it = client();
  const seen = [];
  const note = (of) => (...args) => seen.push([of, ...args]);
  const channel = it.subscribe('news');
  channel.bind('line', note('channel')).bind_global(note('all of channel'));
  it.bind('line', note('client')).bind_global(note('all'));
  socket().establish();
  seen.length = 0;
  socket().tell('line', { channel: 'news', data: '{"a":1}', user_id: 'ann' });
  assert.deepEqual(seen, [
    ['all of channel', 'line', { a: 1 }, { user_id: 'ann' }],
    ['channel', { a: 1 }, { user_id: 'ann' }],
    ['all', 'line', { a: 1 }],
    ['client', { a: 1 }],
  ]);
  channel.unbind('line').unbind_global();
  it.unbind_all();
  socket().tell('line', { channel: 'news', data: 'no JSON' });
  assert.equal(seen.length, 4);
});

example('position is stated again, and recovered messages arrive once', async ({ client, socket }) => {
  const hooks = noted();
  const it = client(hooks);
  const channel = it.subscribe('news');
  const lines = [];
  channel.bind('line', (data, { position }) => lines.push([data, position.offset, channel.position.offset]));
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  socket().tell('line', { channel: 'news', data: '"five"', position: at(5) });
  await again(socket);
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news', position: at(5) }]);
  for (const offset of [5, 6, 7]) socket().tell('line', { channel: 'news', data: `"${offset}"`, position: at(offset) });
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(7), recovered: true });
  // The position counts once the handlers have run.
  assert.deepEqual(lines, [['five', 5, 4], [6, 6, 5], [7, 7, 6]].map(([data, ...rest]) => [String(data), ...rest]));
  assert.deepEqual(channel.position, at(7));
  assert.deepEqual(hooks.calls, [['recovered', 'news', 2]]);
});

example('handler that throws stops neither the others nor the position', async ({ client, socket }) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const channel = client().subscribe('news');
  const lines = [];
  channel.bind('line', () => { throw new Error('mine'); }).bind('line', (data) => lines.push(data));
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  socket().tell('line', { channel: 'news', data: '1', position: at(5) });
  delete globalThis.reportError;
  assert.deepEqual([lines, reported, channel.position], [[1], ['mine'], at(5)]);
});

example('hook or storage that throws stops nothing', async ({ client, socket }) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const fail = (of) => () => { throw new Error(of); };
  const it = client({ onGap: fail('gap'), onRecovered: fail('recovered'), positions: { get: () => ({ epoch: 7 }), set: fail('set') } });
  const lines = [];
  it.subscribe('news').bind('line', (data) => lines.push(data));
  socket().establish();
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news' }], 'what was kept is no position');
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  socket().tell('line', { channel: 'news', data: '6', position: at(6) });
  await again(socket);
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(6), recovered: true });
  delete globalThis.reportError;
  assert.deepEqual([lines, reported], [[6], ['set', 'gap', 'set', 'recovered']]);
  assert.deepEqual(it.channel('news').position, at(6));
});

example('gap is reported once for each channel, before what follows it', async ({ client, socket }) => {
  const hooks = noted();
  const it = client(hooks);
  for (const name of ['one', 'two']) it.subscribe(name);
  it.bind('line', (data) => hooks.calls.push(['line', data]));
  socket().establish();
  for (const channel of ['one', 'two']) socket().tell(SUCCEEDED, { channel, data: '{}', position: at(4) });
  await again(socket);
  socket().tell(SUCCEEDED, { channel: 'one', data: '{}', position: at(9), recovered: false, reason: 'trimmed' });
  socket().tell('line', { channel: 'one', data: '10', position: at(10) });
  socket().tell(SUCCEEDED, { channel: 'two', data: '{}', position: at(4), recovered: true });
  socket().tell('line', { channel: 'two', data: '7', position: at(7) });
  socket().tell('pusher_internal:stream_reset', { channel: 'two', position: at(0, 'f'), reason: 'epoch' });
  socket().tell('line', { channel: 'two', data: '1', position: at(1, 'f') });
  assert.deepEqual(hooks.calls, [
    ['gap', 'one', 'trimmed'], ['line', 10],
    ['recovered', 'two', 0], ['gap', 'two', 'hole'], ['line', 7],
    ['gap', 'two', 'epoch'], ['line', 1],
  ]);
});

example('repeated message reaches no handler at all', async ({ client, socket }) => {
  const it = client();
  it.subscribe('news');
  const lines = [];
  it.bind('line', (data) => lines.push(data));
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  for (const offset of [4, 5, 5]) socket().tell('line', { channel: 'news', data: `${offset}`, position: at(offset) });
  assert.deepEqual(lines, [5]);
});

example('positions outlive the page in a storage, and a channel that is left forgets its own', async ({ client, socket }) => {
  const kept = new Map();
  const storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  const positions = new StoredPositions(storage);
  const first = client({ positions });
  first.subscribe('news');
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  socket().tell('line', { channel: 'news', data: '1', position: at(5) });
  first.disconnect();
  assert.deepEqual([...kept], [['push-suite.position.news', '{"epoch":"e","offset":5}']]);
  const second = client({ positions });
  second.subscribe('news');
  socket().establish();
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news', position: at(5) }]);
  second.unsubscribe('news');
  assert.equal(kept.size, 0);
  second.subscribe('news');
  assert.deepEqual(socket().of('pusher:subscribe').at(-1), { channel: 'news' });
});

example('storage with other content, or none at all, keeps nothing and harms nothing', () => {
  for (const content of [null, '', '{', '{"epoch":1,"offset":2}', '{"epoch":"e","offset":-1}', '{"epoch":"e","offset":1e99}', '[]']) {
    assert.equal(new StoredPositions({ getItem: () => content }).get('news'), null, content);
  }
  const forbidden = new StoredPositions(undefined);
  forbidden.set('news', at(1));
  assert.equal(forbidden.get('news'), null);
});

example('channel that a handler leaves keeps no position', async ({ client, socket }) => {
  const kept = [];
  const it = client({ positions: { get: () => null, set: (...args) => kept.push(args) } });
  it.subscribe('news').bind('bye', () => it.unsubscribe('news'));
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(4) });
  socket().tell('bye', { channel: 'news', data: '{}', position: at(5) });
  assert.deepEqual(kept, [['news', at(4)], ['news', null]]);
});

example('private channel is authorized for each connection, and an old answer is not used', async ({ client, socket }) => {
  const asked = [];
  const it = client({
    channelAuthorization: { customHandler: (request, done) => asked.push([request, done]) },
  });
  it.subscribe('private-a');
  socket().establish('1.1');
  await again(socket);
  assert.deepEqual(asked.map(([request]) => request), ['1.1', '1.2'].map((socketId) => ({ socketId, channelName: 'private-a' })));
  asked[0][1](null, { auth: 'old' });
  await settle();
  it.subscribe('private-a');
  assert.deepEqual([socket().sent, asked.length], [[], 2]);
  asked[1][1](null, { auth: 'new' });
  await settle();
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'private-a', auth: 'new' }]);
});

example('refusal of the application is final, a failure that passes is not', async ({ client, socket, random }) => {
  random(1);
  const answers = [{ status: 503 }, { status: 429, retryAfter: 7_000 }, { status: 403 }];
  const errors = [];
  const it = client({
    channelAuthorization: {
      customHandler: async () => { throw Object.assign(new Error('no'), answers.shift()); },
    },
  });
  const channel = it.subscribe('private-a');
  channel.bind('pusher:subscription_error', ({ status }) => errors.push(status));
  socket().establish();
  await settle();
  assert.deepEqual(errors, [503]);
  await pass(1_000);
  assert.deepEqual(errors, [503, 429]);
  await pass(6_999);
  assert.deepEqual(errors, [503, 429]);
  await pass(1);
  assert.deepEqual(errors, [503, 429, 403]);
  await pass(100_000);
  assert.deepEqual([answers, channel.subscription_pending], [[], false]);
});

example('function of the application that throws is a refusal', async ({ client, socket }) => {
  const errors = [];
  const it = client({ channelAuthorization: { customHandler: () => { throw new Error('not logged in'); } } });
  it.subscribe('private-a').bind('pusher:subscription_error', (error) => errors.push(error));
  socket().establish();
  await settle();
  assert.deepEqual(errors, [{ type: 'AuthError', error: 'not logged in', status: 403 }]);
});

example('channel that was refused can be subscribed to again', async ({ client, socket }) => {
  const it = client();
  it.subscribe('news');
  socket().establish();
  socket().tell('pusher:subscription_error', { channel: 'news', data: '{"status":401}' });
  it.subscribe('news');
  assert.equal(socket().of('pusher:subscribe').length, 2);
});

example('presence channel has its members', async ({ client, socket }) => {
  const it = client({
    channelAuthorization: { customHandler: async () => ({ auth: 'a', channel_data: '{"user_id":7}' }) },
  });
  const channel = it.subscribe('presence-room');
  const seen = [];
  channel.bind('pusher:subscription_succeeded', (members) => seen.push([members.count, members.me.id]));
  channel.bind('pusher:member_added', (member) => seen.push(['added', member]));
  channel.bind('pusher:member_removed', (member) => seen.push(['removed', member]));
  socket().establish();
  await settle();
  const presence = { count: 2, ids: ['7', '__proto__'], hash: JSON.parse('{"7":{"name":"Ann"},"__proto__":null}') };
  socket().tell(SUCCEEDED, { channel: 'presence-room', data: JSON.stringify({ presence }) });
  const member = (event, data) => socket().tell(`pusher_internal:${event}`, { channel: 'presence-room', data: JSON.stringify(data) });
  member('member_added', { user_id: '9', user_info: { name: 'Bob' } });
  member('member_removed', { user_id: '__proto__' });
  member('member_added', { user_id: '__proto__', user_info: 1 });
  member('member_removed', { user_id: '__proto__' });
  member('member_removed', { user_id: 'stranger' });
  assert.deepEqual(seen, [
    [2, '7'], ['added', { id: '9', info: { name: 'Bob' } }], ['removed', { id: '__proto__', info: null }],
    ['added', { id: '__proto__', info: 1 }], ['removed', { id: '__proto__', info: 1 }],
  ]);
  const ids = [];
  channel.members.each(({ id }) => ids.push(id));
  assert.deepEqual([channel.members.count, ids], [2, ['7', '9']]);
});

example('encrypted channel is refused in words', ({ client }) => {
  assert.throws(() => client().subscribe('private-encrypted-a'), /encrypted channels are not supported/);
});

example('user is signed in on every connection, and keeps the place in its stream', async ({ client, socket }) => {
  const it = client({ userAuthentication: { customHandler: async ({ socketId }) => ({ auth: socketId, user_data: '{"id":"ann"}' }) } });
  it.signin();
  it.user.bind('hello', (data) => lines.push(data));
  const lines = [];
  const online = [];
  it.user.watchlist.bind('online', ({ user_ids }) => online.push(...user_ids));
  const success = () => socket().tell('pusher:signin_success', { data: JSON.stringify({ user_data: '{"id":"ann"}' }) });
  const own = '#server-to-user-ann';
  socket().establish();
  await settle();
  assert.deepEqual(socket().of('pusher:signin'), [{ auth: '1.1', user_data: '{"id":"ann"}' }]);
  success();
  await it.user.signinDonePromise;
  socket().tell(SUCCEEDED, { channel: own, data: '{}', position: at(2) });
  socket().tell('hello', { channel: own, data: '1', position: at(3) });
  socket().tell('pusher_internal:watchlist_events', { data: '{"events":[{"name":"online","user_ids":["bob"]}]}' });
  await again(socket);
  assert.deepEqual(socket().of('pusher:subscribe'), [], 'not before the sign-in');
  success();
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: own, position: at(3) }]);
  socket().tell('hello', { channel: own, data: '2', position: at(4) });
  assert.deepEqual([lines, online], [[1, 2], ['bob']]);
});

example('client events wait for their channel, and leave in order and not too fast', async ({ client, socket }) => {
  const it = client();
  const channel = it.subscribe('news');
  assert.throws(() => channel.trigger('typing', {}), /begins with client-/);
  for (const number of [1, 2, 3]) assert.equal(channel.trigger('client-a', number), true);
  socket().establish();
  await settle();
  assert.deepEqual(socket().of('client-a'), []);
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}' });
  assert.deepEqual(socket().of('client-a'), [1]);
  channel.trigger('client-a', 4);
  await pass(199);
  assert.deepEqual(socket().of('client-a'), [1]);
  await pass(1 + 200);
  assert.deepEqual(socket().of('client-a'), [1, 2, 3]);
  await pass(200);
  channel.trigger('client-a', 5);
  assert.deepEqual(socket().of('client-a'), [1, 2, 3, 4, 5]);
  assert.deepEqual(socket().sent.at(-1), { event: 'client-a', channel: 'news', data: 5 });
});

example('queue is bounded by its policy', async ({ client, socket }) => {
  const policies = [
    [{ limit: 2 }, [true, true, false], [1, 2]],
    [{ limit: 2, policy: 'refuse' }, [true, true, false], [1, 2]],
    [{ limit: 2, policy: 'drop-oldest' }, [true, true, true], [2, 3]],
    [{ policy: 'off' }, [false, false, false], []],
    [{ maxLength: 120 }, [true, true, false], [1, 2]],
    [{ maxLength: 10, policy: 'drop-oldest' }, [false, false, false], []],
  ];
  for (const [sendQueue, results, sent] of policies) {
    const channel = client({ sendQueue }).subscribe('news');
    assert.deepEqual([1, 2, 3].map((each) => channel.trigger('client-a', each)), results, JSON.stringify(sendQueue));
    socket().establish();
    socket().tell(SUCCEEDED, { channel: 'news', data: '{}' });
    await pass(5_000);
    assert.deepEqual(socket().of('client-a'), sent, JSON.stringify(sendQueue));
  }
  assert.throws(() => client({ sendQueue: { policy: 'none' } }), /refuse, drop-oldest, off/);
});

example('socket that does not send any more fills the queue, not the memory', async ({ client, socket }) => {
  const it = client({ sendQueue: { limit: 1 } });
  const channel = it.subscribe('news');
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}' });
  socket().bufferedAmount = 2 ** 21;
  assert.deepEqual([1, 2].map((each) => channel.trigger('client-a', each)), [true, false]);
  it.subscribe('other');
  assert.deepEqual(socket().of('pusher:subscribe'), [{ channel: 'news' }, { channel: 'other' }], 'the protocol goes on');
  socket().bufferedAmount = 0;
  await pass(200);
  assert.deepEqual(socket().of('client-a'), [1]);
});

example('queue is emptied by disconnect, and by leaving its channel', async ({ client, socket }) => {
  const it = client();
  it.subscribe('a').trigger('client-a', 1);
  it.subscribe('b').trigger('client-a', 2);
  it.unsubscribe('a');
  it.subscribe('a');
  socket().establish();
  for (const channel of ['a', 'b']) socket().tell(SUCCEEDED, { channel, data: '{}' });
  await pass(1_000);
  assert.deepEqual(socket().of('client-a'), [2]);
  socket().end();
  it.channel('a').trigger('client-a', 3);
  it.disconnect();
  it.connect();
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'a', data: '{}' });
  await pass(1_000);
  assert.deepEqual(socket().of('client-a'), []);
});

example('channel that is left is subscribed to no more', async ({ client, socket }) => {
  const it = client();
  it.subscribe('news');
  socket().establish();
  it.unsubscribe('news');
  assert.deepEqual(socket().of('pusher:unsubscribe'), [{ channel: 'news' }]);
  assert.deepEqual([it.channel('news'), it.allChannels()], [undefined, []]);
  await again(socket);
  assert.deepEqual(socket().sent, []);
});

example('malformed frames change nothing', ({ client, socket }) => {
  const it = client();
  const channel = it.subscribe('news');
  socket().establish();
  socket().tell(SUCCEEDED, { channel: 'news', data: '{}', position: at(1) });
  for (const data of ['', '{', '[]', 'null', '7', '{"event":7}', '{"event":"a","channel":7}', new ArrayBuffer(3)]) socket().onmessage({ data });
  for (const position of [7, 'e', [], {}, { epoch: 'e' }, { epoch: '', offset: 1 }, { epoch: 'e', offset: 1.5 }]) {
    socket().tell('line', { channel: 'news', data: '1', position });
  }
  socket().tell('pusher_internal:subscription_count', { channel: 'news' });
  socket().tell('pusher_internal:watchlist_events', {});
  tick(1);
  assert.deepEqual([it.connection.state, channel.position], ['connected', at(1)]);
});
