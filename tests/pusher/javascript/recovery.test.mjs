// The network is cut at every byte of a recovery: afterwards every message has arrived once and in
// order, or the gap is reported once.

import assert from 'node:assert/strict';
import { after, before, mock, test } from 'node:test';
import { Client } from '../../../web/client/index.js';
import { Cutter } from './cutter.mjs';
import { FakeServer } from './fake_server.mjs';

const MISSED = 3;
const AT_A_TIME = 4;
let server;
let cutters;
let number = 0;
before(async () => {
  server = await FakeServer.start();
  cutters = await Promise.all(Array.from({ length: AT_A_TIME }, () => Cutter.start(server.port)));
  // Without waits between attempts.
  mock.method(Math, 'random', () => 0);
});
after(async () => {
  mock.restoreAll();
  for (const cutter of cutters) await cutter.stop();
  await server.stop();
});

/** A client of a channel of its own, which is subscribed and has received a message. */
async function subscriber(cutter = cutters[0], { onGap, onLine } = {}) {
  const name = `room-${(number += 1)}`;
  const seen = { lines: [], gaps: [], recovered: [], subscriptions: 0 };
  let wake = () => {};
  const note = (list) => (...args) => {
    list.push(args.length === 1 ? args[0] : args[1]);
    wake();
  };
  const client = new Client('key', {
    hosts: [`127.0.0.1:${cutter.port}`], forceTLS: false,
    onGap: onGap ?? note(seen.gaps), onRecovered: note(seen.recovered),
  });
  const until = async (what, holds) => {
    const late = setTimeout(() => assert.fail(`not in time: ${what}; ${JSON.stringify(seen)}`), 20_000);
    while (!holds()) await new Promise((resolve) => (wake = resolve));
    clearTimeout(late);
  };
  const channel = client.subscribe(name);
  channel.bind('line', (line) => {
    seen.lines.push(line);
    wake();
  });
  channel.bind('pusher:subscription_succeeded', () => {
    seen.subscriptions += 1;
    wake();
  });
  await until('subscribed', () => channel.subscribed);
  if (onLine) {
    channel.unbind('line').bind('line', onLine);
    return { client, channel, name, seen, until };
  }
  server.publish(name, 'first');
  await until('the first line', () => seen.lines.length === 1);
  return { client, channel, name, seen, until };
}

const published = (name) => Array.from({ length: MISSED }, (_, at) => `${name} ${at}`);

/** Loses the connection, publishes, and cuts the next one; then everything is to have arrived. */
async function cutAt(cutter, limits, meanwhile) {
  const it = await subscriber(cutter);
  const { client, channel, name, seen, until } = it;
  Object.assign(cutter, limits);
  cutter.cut();
  for (const line of published(name)) server.publish(name, line);
  meanwhile(name);
  const before = seen.subscriptions;
  await until('subscribed again', () => seen.subscriptions > before && channel.subscribed);
  server.publish(name, 'last');
  // A cut behind the answer leaves a further recovery.
  await until('the last line', () => seen.lines.includes('last'));
  const size = { ...cutter.passed };
  client.disconnect();
  return { ...it, size };
}

/** Cuts at each byte of a recovery, which has as many as one that is not cut. */
async function everyByte(side, meanwhile, check) {
  const { size } = await cutAt(cutters[0], {}, meanwhile);
  assert.ok(size[side] > 100, `only ${size[side]} bytes`);
  let next = 0;
  const work = async (cutter) => {
    while (next <= size[side]) {
      const at = next++;
      const { seen, name } = await cutAt(cutter, { [side]: at }, meanwhile);
      check(seen, name, at);
    }
  };
  await Promise.all(cutters.map(work));
  return size[side];
}

function isComplete(seen, name, at) {
  assert.deepEqual(seen.lines, ['first', ...published(name), 'last'], `cut at ${at}`);
  assert.deepEqual(seen.gaps, [], `cut at ${at}`);
}

for (const side of ['down', 'up']) {
  test(`cut at every byte ${side}: each message once and in order`, { timeout: 300_000 }, async (t) => {
    t.diagnostic(`${await everyByte(side, () => {}, isComplete)} bytes`);
  });
}

for (const [reason, lose] of [
  ['trimmed', (name) => server.trim(name, 2)],
  ['epoch', (name) => server.lose(name, 'e2')],
]) {
  test(`cut at every byte of a refusal (${reason}): the gap once`, { timeout: 300_000 }, async () => {
    await everyByte('down', lose, (seen, name, at) => {
      assert.deepEqual(seen.lines, ['first', 'last'], `cut at ${at}`);
      assert.deepEqual(seen.gaps, [reason], `cut at ${at}`);
    });
  });
}

test('cut at random bytes of one recovery after the other', { timeout: 120_000 }, async () => {
  const [cutter] = cutters;
  const { client, channel, name, seen, until } = await subscriber();
  const random = numbers(7);
  const expected = ['first'];
  for (let round = 0; round < 100; round += 1) {
    const before = seen.subscriptions;
    cutter.down = random(900);
    cutter.cut();
    for (let at = random(4); at >= 0; at -= 1) {
      expected.push(`${round} ${at}`);
      server.publish(name, expected.at(-1));
    }
    await until('subscribed again', () => seen.subscriptions > before && channel.subscribed);
  }
  server.publish(name, 'last');
  await until('the last line', () => seen.lines.includes('last'));
  client.disconnect();
  assert.deepEqual(seen.lines, [...expected, 'last']);
  assert.deepEqual(seen.gaps, []);
});

/** Numbers from a seed. */
function numbers(seed) {
  let state = seed + 1;
  return (below) => (state = (state * 48_271) % 2_147_483_647) % below;
}

/** Lets a stream and its network suffer at random; returns what the client saw of it, in its order. */
async function suffer(seed, cutter) {
  const random = numbers(seed);
  const log = [];
  let last = 0;
  const { client, channel, name, until } = await subscriber(cutter, {
    onGap: (_, reason) => log.push(reason),
    onLine: (line) => log.push(line),
  });
  const faults = [
    ...Array(9).fill(() => server.publish(name, (last += 1))),
    // In the history, and never sent: a hole for those that are connected.
    () => server.stream(name).append((last += 1)),
    () => server.trim(name, random(8)),
    () => server.lose(name, `e${seed}.${last}`),
    ...Array(2).fill(() => {
      cutter.down = random(2) === 0 ? Infinity : random(900);
      cutter.cut();
    }),
    ...Array(8).fill(() => new Promise((resolve) => setTimeout(resolve, random(20)))),
  ];
  for (let step = 0; step < 100; step += 1) await faults[random(faults.length)]();
  cutter.down = Infinity;
  await until('subscribed', () => channel.subscribed);
  for (let end = last; !log.includes(last) || last === end; ) {
    server.publish(name, (last += 1));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  client.disconnect();
  return log;
}

test('every fault at random: no message twice, none out of order, none missing without a gap', { timeout: 120_000 }, async (t) => {
  const found = { lines: 0, gaps: 0 };
  server.repeated = 2;
  const seeds = Array.from({ length: 24 }, (_, seed) => seed);
  const work = async (cutter) => {
    for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
      const log = await suffer(seed, cutter);
      let before = 0;
      let isGap = false;
      for (const each of log) {
        if (typeof each === 'string') {
          isGap = true;
          found.gaps += 1;
          continue;
        }
        assert.ok(each > before, `seed ${seed}: ${each} after ${before}`);
        assert.ok(each === before + 1 || isGap, `seed ${seed}: ${each} after ${before} without a gap`);
        [before, isGap] = [each, false];
        found.lines += 1;
      }
    }
  };
  await Promise.all(cutters.map(work));
  server.repeated = 0;
  t.diagnostic(`${found.lines} messages, ${found.gaps} gaps`);
  assert.ok(found.lines > 400 && found.gaps > 40);
});

test('messages that are published while a recovery is answered follow it', { timeout: 30_000 }, async () => {
  const { client, name, seen, until } = await subscriber();
  server.onSubscribe = (channel) => server.publish(channel, 'in between');
  cutters[0].cut();
  await until('recovered', () => seen.recovered.length === 1);
  server.onSubscribe = () => {};
  server.publish(name, 'last');
  await until('the last line', () => seen.lines.includes('last'));
  client.disconnect();
  assert.deepEqual([seen.lines, seen.recovered, seen.gaps], [['first', 'in between', 'last'], [1], []]);
});

test('stream that is reset during a connection: the gap once, then its new messages', { timeout: 30_000 }, async () => {
  const { client, channel, name, seen, until } = await subscriber();
  server.lose(name, 'e2');
  server.publish(name, 'last');
  await until('the last line', () => seen.lines.includes('last'));
  assert.deepEqual([seen.lines, seen.gaps], [['first', 'last'], ['epoch']]);
  assert.deepEqual(channel.position, { epoch: 'e2', offset: 1 });
  client.disconnect();
});
