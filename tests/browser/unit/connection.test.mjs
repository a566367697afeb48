// Reconnect delays, and behavior of a lost connection.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { mock, test } from 'node:test';
import { backoff, comesBack, Connection, retryAfter } from '../../../web/connection.js';

globalThis.WebSocket ??= { OPEN: 1 };

class FakeSocket extends EventTarget {
  readyState = 0;
  sent = [];
  closed = false;

  send(frame) {
    this.sent.push(frame);
  }

  close() {
    this.closed = true;
  }

  tell(type, fields = {}) {
    if (type === 'open') this.readyState = 1;
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }
}

function setUp() {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const sockets = [];
  const states = [];
  const losses = [];
  const ends = [];
  const connection = new Connection(
    'ws://chat/',
    {
      onState: ({ name }) => states.push(name),
      onOpen: () => connection.accept(),
      onFrame: () => {},
      onLost: (loss) => losses.push(loss),
      onClosed: (end) => ends.push(end),
    },
    () => {
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    },
  );
  return { connection, sockets, states, losses, ends };
}

function example(name, run) {
  test(name, () => {
    try {
      run(setUp());
    } finally {
      mock.timers.reset();
    }
  });
}

test('full jitter: from zero to a bound that doubles up to a maximum', () => {
  assert.equal(backoff(0, () => 0), 0);
  assert.deepEqual([0, 1, 2, 3].map((n) => backoff(n, () => 1)), [1_000, 2_000, 4_000, 8_000]);
  assert.equal(backoff(10, () => 1), 30_000);
  assert.equal(backoff(5_000, () => 1), 30_000);
});

test('the server may send a retry-after', () => {
  assert.equal(retryAfter('retry-after=2.4'), 2_400);
  assert.equal(retryAfter('going down; retry-after=0'), 0);
  assert.equal(retryAfter('retry-after=86400'), 60_000);
  for (const none of [undefined, '', 'bye', 'retry-after=', 'retry-after=-1', 'retry-after=1e9']) {
    assert.equal(retryAfter(none), null, none);
  }
});

example('comes back when the server says, and then by itself', ({ connection, sockets }) => {
  connection.start();
  sockets[0].tell('open');
  sockets[0].tell('close', { code: 1001, reason: 'retry-after=5.5' });
  mock.timers.tick(5_499);
  assert.equal(sockets.length, 1);
  mock.timers.tick(1);
  assert.equal(sockets.length, 2);
  sockets[1].tell('close', { code: 1006, reason: '' });
  mock.timers.tick(2_000);
  assert.equal(sockets.length, 3);
});

example('connects, and after a loss connects again', ({ connection, sockets, states, losses }) => {
  connection.start();
  sockets[0].tell('open');
  sockets[0].tell('close', { code: 1006 });
  assert.deepEqual(states, ['connecting', 'online', 'waiting']);
  assert.deepEqual(losses, [{ code: 1006, was: 'online' }]);
  mock.timers.tick(30_000);
  assert.equal(sockets.length, 2);
});

test('comes back after the codes that docs/close-codes.md says, and after no others', async () => {
  const document = await readFile(new URL('../../../docs/close-codes.md', import.meta.url), 'utf8');
  const [, table] = document.split('| code | cause |');
  const rows = table.split('\n\n')[0].split('\n').slice(2).map((row) => row.split('|').map((cell) => cell.trim()));
  assert.ok(rows.length > 10);
  for (const [, code, cause, reason, verdict] of rows) {
    if (code === "the client's") continue;
    assert.ok(['yes', 'no'].includes(verdict), cause);
    const codes = code === 'none' ? [1005, 1006] : code.split('–').map(Number);
    const sent = reason.includes('retry-after') ? 'retry-after=2.4' : '';
    for (const each of codes) assert.equal(comesBack(each, sent), verdict === 'yes', `${each} ${cause}`);
  }
  assert.equal(comesBack(4403, 'kicked'), false);
  assert.equal(comesBack(4503, 'retry-after=30'), true);
});

example('stays away after a code that is final, until it is started', ({ connection, sockets, states, losses, ends }) => {
  connection.start();
  sockets[0].tell('open');
  sockets[0].tell('close', { code: 4403, reason: 'kicked' });
  connection.hurry();
  mock.timers.tick(600_000);
  assert.equal(sockets.length, 1);
  assert.equal(states.at(-1), 'closed');
  assert.deepEqual(ends, [{ code: 4403, reason: 'kicked' }]);
  assert.deepEqual(losses, []);
  connection.start();
  assert.equal(sockets.length, 2);
});

example('does not wait when told to hurry, and connects once', ({ connection, sockets }) => {
  connection.start();
  sockets[0].tell('close', { code: 1006 });
  connection.hurry();
  connection.hurry();
  connection.start();
  assert.equal(sockets.length, 2);
});

example('closed on purpose it stays closed', ({ connection, sockets, states }) => {
  connection.start();
  sockets[0].tell('open');
  connection.stop();
  connection.hurry();
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 1);
  assert.ok(sockets[0].closed);
  assert.equal(states.at(-1), 'closed');
});

example('gives up on a socket that never opens', ({ connection, sockets, states }) => {
  connection.start();
  mock.timers.tick(10_000);
  assert.equal(states.at(-1), 'waiting');
  assert.ok(sockets[0].closed);
});

example('notices silence after a question, and only then', ({ connection, sockets, losses }) => {
  connection.start();
  sockets[0].tell('open');
  mock.timers.tick(600_000);
  assert.equal(losses.length, 0);
  connection.sendExpecting('?', 8_000);
  sockets[0].tell('message', { data: '!' });
  mock.timers.tick(8_000);
  assert.equal(losses.length, 0);
  connection.sendExpecting('?', 8_000);
  mock.timers.tick(8_000);
  assert.equal(losses.length, 1);
});

example('hears nothing more from a socket it let go of', ({ connection, sockets, losses }) => {
  connection.start();
  sockets[0].tell('open');
  connection.sendExpecting('?', 8_000);
  mock.timers.tick(8_000);
  sockets[0].tell('close', { code: 1006 });
  assert.equal(losses.length, 1);
});
