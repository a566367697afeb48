// Two gateways of one cluster: the page goes on at the other one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './page.mjs';
import { startSuite } from './suite.mjs';

let suite;
let browser;
before(async () => {
  if (process.env.CHAT_URL) return;
  suite = await startSuite([], { gateways: 2 });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await suite?.stop();
});

test('the page connects to the other gateway when its own is killed', { skip: Boolean(process.env.CHAT_URL), timeout: 120_000 }, async () => {
  const [first, second] = suite.urls;
  const alice = await Person.enter(browser, first, 'alice', { room: 'failover', mayLose: true });
  const bob = await Person.enter(browser, second, 'bob', { room: 'failover' });
  await alice.sees('bob joined');
  await suite.gateways[0].stop('SIGKILL');
  await alice.sees('connected again: back in #failover as alice');
  await alice.type('from the other side');
  // Her former connection is in the room until its gateway is declared dead, so she may have a longer name.
  await bob.sees(/alice(#\w+)? │ from the other side/);
  await alice.sees(/alice(#\w+)? │ from the other side/);
  assert.equal((await alice.lines()).filter((line) => line.includes('connection lost')).length, 1);
  await alice.leave();
  await bob.leave();
});
