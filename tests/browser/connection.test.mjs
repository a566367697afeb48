// The connection: loss and reconnect, close and open by command.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const example = chatAndBrowser();
const LOSES = { mayLose: true };

example(
  'after the gateway is restarted the page is back in its room with its name',
  async ({ enter, gateway, room }) => {
    const alice = await enter('alice', LOSES);
    const bob = await enter('bob', LOSES);
    await alice.type('before');
    await bob.sees('before');

    await gateway.stop('SIGKILL');
    await alice.sees('connection lost; reconnecting');
    await bob.sees('connection lost; reconnecting');
    await alice.page.locator('#state').filter({ hasText: /^reconnecting in \d+ s$/ }).waitFor();
    await alice.type('is anybody there?');
    await alice.sees('not connected: the line was not sent');
    assert.equal(await alice.line.inputValue(), 'is anybody there?');
    await alice.screenshot('reconnecting');

    await gateway.start();
    await alice.sees(`connected again: back in #${room} as alice`);
    await bob.sees(`connected again: back in #${room} as bob`);
    await alice.sees(/messages of others between [\d:]{8} and [\d:]{8} are missing here/, '.gap');
    await alice.sees('bob');
    await alice.page.waitForFunction(() => document.querySelector('#who').textContent === '2 here');
    await alice.line.press('Enter');
    await bob.sees('is anybody there?');
    await bob.type('after');
    await alice.sees('after');
    await alice.screenshot('reconnected');
  },
  { needsGateway: true },
);

example(
  'a network that is back, or a reader, ends the waiting at once',
  async ({ enter, gateway }) => {
    // Source of the full jitter: maximal delays, so that only an immediate retry ends them.
    const alice = await enter('alice', { ...LOSES, prepare: (page) => page.addInitScript(() => (Math.random = () => 0.999)) });
    const waiting = (seconds) =>
      alice.page.locator('#state').filter({ hasText: `reconnecting in ${seconds} s` }).waitFor();
    const stateAfter = (target, type) =>
      alice.page.evaluate(
        ([name, event]) => {
          globalThis[name].dispatchEvent(new Event(event));
          return document.documentElement.dataset.state;
        },
        [target, type],
      );
    await gateway.stop('SIGKILL');
    await waiting(4);
    assert.equal(await stateAfter('document', 'visibilitychange'), 'connecting');
    await waiting(8);
    await gateway.start();
    assert.equal(await stateAfter('window', 'online'), 'connecting');
    await alice.online();
    await alice.sees('connected again');
  },
  { needsGateway: true },
);

example('/quit closes and stays closed until Enter or /connect', async ({ enter }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  await bob.type('/quit');
  await bob.sees('connection closed; /connect or Enter reconnects');
  assert.equal(await bob.state.textContent(), 'offline');
  await alice.sees('bob left');
  await bob.type('hello?');
  await bob.sees('not connected: the line was not sent');
  await bob.line.fill('');

  await bob.line.press('Enter');
  await bob.online();
  await bob.sees('connected again: back in');
  await bob.type('/quit');
  await bob.page.locator(':root[data-state="closed"]').waitFor();
  await bob.type('/connect');
  await bob.online();
  await bob.type('here again');
  await alice.sees('here again');
});

example('a kicked user stays out, and is told why', async ({ enter, room }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  await alice.sees('bob joined');
  await bob.sees('2 here: ');
  await bob.type('/kick alice');
  await bob.sees('only the user who has been in the room longest may do that');
  await bob.type('/kick');
  await bob.sees('usage: /kick NAME');
  await bob.type('/kick nobody');
  await bob.sees('nobody here is called nobody');
  await alice.type('/kick bob');
  await alice.sees('bob left');
  await bob.sees('the server has closed the connection: you were removed from the room; /connect or Enter reconnects');
  assert.equal(await bob.state.textContent(), 'offline');
  await bob.page.evaluate(() => globalThis.dispatchEvent(new Event('online')));
  await bob.page.waitForTimeout(2_000);
  assert.equal(await bob.state.textContent(), 'offline');
  await alice.seesNot('alice left');
  await bob.screenshot('kicked');
  await bob.type('/connect');
  await bob.sees(`connected again: back in #${room} as bob`);
});

example('pings are answered, and the login asks again after a refused name', async ({ open }) => {
  const heard = [];
  let refuse = true;
  let server;
  const alice = await open({
    prepare: (page) =>
      page.routeWebSocket(/.*/, (socket) => {
        server = socket;
        socket.onMessage((frame) => {
          const message = JSON.parse(frame);
          heard.push(message.type);
          if (message.type !== 'login') return;
          const { client_name } = message;
          const answer = refuse
            ? { type: 'error', code: 'name_too_long', message: 'too long', limit: 5 }
            : { type: 'login', client_id: 'a1', client_name, client_list: { a1: client_name } };
          socket.send(JSON.stringify(answer));
        });
      }),
  });
  await alice.type('alexandra');
  await alice.sees('the server refuses the name: at most 5 characters');
  await alice.page.locator('.sign-question').waitFor();
  refuse = false;
  await alice.logIn('alex');
  server.send('{"type":"ping"}');
  await alice.page.waitForFunction(() => document.documentElement.dataset.state === 'online');
  for (let i = 0; i < 100 && !heard.includes('pong'); i += 1) await alice.page.waitForTimeout(20);
  assert.ok(heard.includes('pong'));
});

example('a dead connection is detected when the tab becomes visible', async ({ open }) => {
  let connections = 0;
  const alice = await open({
    prepare: async (page) => {
      await page.clock.install();
      await page.routeWebSocket(/.*/, (socket) => {
        connections += 1;
        socket.onMessage((frame) => {
          if (JSON.parse(frame).type !== 'login') return;
          socket.send(JSON.stringify({ type: 'login', client_id: 'a1', client_name: 'alice', client_list: { a1: 'alice' } }));
        });
      });
    },
  });
  await alice.logIn('alice');
  await alice.page.clock.runFor(60_000);
  assert.equal(await alice.state.textContent(), 'online');
  await alice.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await alice.page.clock.runFor(9_000);
  await alice.sees('connection lost; reconnecting');
  await alice.page.clock.runFor(2_000);
  await alice.sees('connected again');
  assert.equal(connections, 2);
});
