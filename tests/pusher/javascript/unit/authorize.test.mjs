// Requests for proofs.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { AuthError, authorizer } from '../../../../web/client/authorize.js';
import { Client } from '../../../../web/client/index.js';
import { FakeSocket, settle } from './world.mjs';

/** Runs with answers in place of the network; returns the requests. */
async function requests(answers, run) {
  const made = [];
  mock.method(globalThis, 'fetch', async (url, { method, headers, body, credentials }) => {
    made.push({ url, method, headers, body: Object.fromEntries(body), credentials });
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return new Response(answer.body, answer);
  });
  try {
    await run();
  } finally {
    mock.restoreAll();
  }
  return made;
}

const request = { socketId: '1.2', channelName: 'private-a' };

test('request is a form, with the parameters and headers of the application', async () => {
  const ask = authorizer({
    endpoint: '/auth', params: { room: 7 }, paramsProvider: () => ({ more: 'x' }), credentials: 'include',
    headers: { 'X-CSRF-TOKEN': 't' }, headersProvider: () => ({ Authorization: 'Bearer b' }),
  });
  const made = await requests([{ body: '{"auth":"k:s"}' }], async () => {
    assert.deepEqual(await ask(request), { auth: 'k:s' });
  });
  assert.deepEqual(made, [{
    url: '/auth', method: 'POST', credentials: 'include',
    headers: { Accept: 'application/json', 'X-CSRF-TOKEN': 't', Authorization: 'Bearer b' },
    body: { socket_id: '1.2', channel_name: 'private-a', room: '7', more: 'x' },
  }]);
});

test('failure has the status, and whether it passes', async () => {
  const cases = [
    [{ status: 403 }, 403, false, null],
    [{ status: 401 }, 401, false, null],
    [{ body: 'no JSON' }, 200, false, null],
    [{ status: 429, headers: { 'Retry-After': '3' } }, 429, true, 3_000],
    [{ status: 500 }, 500, true, null],
    [new TypeError('fetch failed'), 0, true, null],
  ];
  for (const [answer, status, passes, retryAfter] of cases) {
    await requests([answer], () =>
      assert.rejects(authorizer({ endpoint: '/auth' })(request), (error) => {
        assert.ok(error instanceof AuthError);
        assert.deepEqual([error.type, error.status, error.passes, error.retryAfter], ['AuthError', status, passes, retryAfter]);
        return true;
      }),
    );
  }
});

/** The request that a client with these options makes for a private channel. */
async function requestOf(options) {
  let socket;
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  const [made] = await requests([{ body: '{"auth":"k:s"}' }], async () => {
    const client = new Client('key', { hosts: ['push.test'], WebSocket: Socket, ...options });
    client.subscribe('private-a');
    socket.establish('1.2');
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(socket.of('pusher:subscribe'), [{ channel: 'private-a', auth: 'k:s' }]);
    client.disconnect();
  });
  return made;
}

test('options of pusher-js name the endpoint, also those before version 7', async () => {
  assert.equal((await requestOf({})).url, '/pusher/auth');
  assert.equal((await requestOf({ channelAuthorization: { endpoint: '/new' } })).url, '/new');
  const { url, headers, body } = await requestOf({ authEndpoint: '/old', auth: { headers: { A: 'b' }, params: { c: 'd' } } });
  assert.deepEqual([url, headers.A, body.c], ['/old', 'b', 'd']);
  const custom = ({ name }) => ({ authorize: (socketId, done) => done(null, { auth: `${socketId} ${name}` }) });
  let socket;
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  }
  const client = new Client('key', { hosts: ['push.test'], WebSocket: Socket, authorizer: custom });
  client.subscribe('private-a');
  socket.establish('1.2');
  await settle();
  assert.deepEqual(socket.of('pusher:subscribe'), [{ channel: 'private-a', auth: '1.2 private-a' }]);
  client.disconnect();
});
