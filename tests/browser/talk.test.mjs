// Conversations: in a room, in private, under new names, in other rooms.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const example = chatAndBrowser();

example('two tabs in one room talk', async ({ room, enter }) => {
  const alice = await enter('alice');
  await alice.sees(`you are alice in #${room}`);
  const bob = await enter('bob');
  await alice.sees('bob joined');
  await bob.sees('2 here: alice  bob (you)');

  await alice.type('hello bob');
  await bob.sees('alice │ hello bob');
  await alice.sees('alice │ hello bob');
  await bob.type('two\nlines & <more>');
  await alice.sees('two\nlines & <more>');
  assert.equal((await alice.lines()).filter((line) => line.includes('hello bob')).length, 1);

  await bob.context.close();
  await alice.sees('bob left');
  bob.leave = async () => {};
});

example('links can be opened, and nothing of this page goes with them', async ({ enter }) => {
  const alice = await enter('alice');
  await alice.type('see https://example.com/a?b=1, not javascript:alert(1)');
  const line = await alice.sees('see https://example.com');
  const links = await line.locator('a').evaluateAll((all) => all.map(({ href, textContent, target, rel }) => ({ href, textContent, target, rel })));
  const rel = 'noopener noreferrer nofollow';
  assert.deepEqual(links, [{ href: 'https://example.com/a?b=1', textContent: 'https://example.com/a?b=1', target: '_blank', rel }]);
});

example('names and commands are buttons, and Enter presses them', async ({ enter }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  await bob.type('hello');
  const line = await alice.sees('bob │ hello');
  await line.getByRole('button', { name: 'bob' }).focus();
  await alice.page.keyboard.press('Enter');
  assert.equal(await alice.line.inputValue(), '/msg bob ');
  await alice.line.fill('');
});

example('only recipient and sender see a private message', async ({ enter }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  const carol = await enter('carol');
  await alice.sees('carol joined');

  await alice.type('/msg bob the <b>key</b> is under the mat');
  await bob.sees('[private] │ alice → you: the <b>key</b> is under the mat', '.private');
  await alice.sees('[private] │ you → bob: the <b>key</b> is under the mat', '.private');
  await bob.type('/msg alice thank you');
  await alice.sees('[private] │ bob → you: thank you');
  await carol.type('anything new?');
  await alice.sees('anything new?');
  await carol.sees('anything new?');
  await carol.seesNot('under the mat');
  await carol.seesNot('thank you');
  await alice.screenshot('private');

  await alice.type('/msg nobody hello');
  await alice.sees('nobody here is called nobody');
  await alice.type('/msg alice hello');
  await alice.sees('that is you');
  await alice.type('/msg bob');
  await alice.sees('usage: /msg NAME TEXT');
});

example('users with the same name are distinguished', async ({ enter }) => {
  const alice = await enter('alice');
  const first = await enter('bob');
  const second = await enter('bob');
  await alice.sees('bob joined');
  await alice.page.waitForFunction(() => document.querySelector('#who').textContent.startsWith('3'));

  await alice.type('/msg bob which?');
  const line = await alice.sees('several users are called bob; choose one: ');
  const [, one, other] = /choose one: (bob#\w+) {2}(bob#\w+)$/.exec(await line.locator('.text').textContent());
  await alice.type(`/msg ${one} you are one`);
  await alice.type(`/msg ${other} you are the other`);
  await first.sees('you are one');
  await second.sees('you are the other');
  // What they say to all is told apart too, by the same names and in other colours.
  await first.type('from the first');
  await second.type('from the second');
  const said = await Promise.all(['from the first', 'from the second'].map((text) => alice.sees(text)));
  const nicks = await Promise.all(said.map((each) => each.locator('.nick').evaluate((nick) => [nick.textContent, nick.className])));
  assert.deepEqual(nicks.map(([text]) => text).sort(), [one, other].sort());
  assert.notEqual(nicks[0][1], nicks[1][1]);
  await first.seesNot('you are the other');
  await second.seesNot('you are one');
});

example('a new name is shown to everyone and stored', async ({ enter, room }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  await bob.type('/nick robert the first');
  await alice.sees('bob is now robert the first');
  await bob.sees('you are now robert the first');
  await bob.page.locator('#sign').filter({ hasText: `robert the first@${room} $` }).waitFor();
  await alice.type('/msg robert the first hello');
  await bob.sees('alice → you: hello');

  await bob.type(`/nick ${'x'.repeat(33)}`);
  await bob.sees('a name has at most 32 characters');
  await bob.page.reload();
  await bob.online();
  await bob.sees(`you are robert the first in #${room}`);
});

example('/who lists the room', async ({ enter, room }) => {
  const alice = await enter('alice');
  await enter('bob');
  await enter('小明');
  await alice.sees('小明 joined');
  await alice.type('/who');
  await alice.sees(`3 in #${room}: alice (you)  bob  小明`);
  assert.equal(await alice.page.locator('#who').textContent(), '3 here');
});

example('moving to another room leaves the old one', async ({ enter, room }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  await bob.type(`/join #${room}-b`);
  await bob.sees(`you are bob in #${room}-b`);
  await alice.sees('bob left');
  assert.equal(await bob.page.locator('#room').textContent(), `#${room}-b`);
  assert.equal(new URL(bob.page.url()).hash, `#room=${room}-b`);

  await alice.type('only here');
  await alice.sees('only here');
  await bob.type('only there');
  await bob.sees('only there');
  await alice.seesNot('only there');
  await bob.seesNot('only here');

  await alice.page.evaluate((to) => (location.hash = `room=${to}`), `${room}-b`);
  await bob.sees('alice joined');
  await alice.type('here I am');
  await bob.sees('here I am');
});

example('an invalid command is reported, and the line is kept', async ({ enter }) => {
  const alice = await enter('alice');
  await alice.type('x'.repeat(4001));
  await alice.sees('a message has at most 4000 characters; this one has 4001');
  assert.equal((await alice.line.inputValue()).length, 4001);
  await alice.type('/jion there');
  await alice.sees('no such command: /jion. Did you mean /join?');
  await alice.type('/join');
  await alice.sees('usage: /join ROOM');
  await alice.type('//etc/hosts');
  await alice.sees('alice │ /etc/hosts');
  await alice.type('/clear');
  assert.deepEqual(await alice.lines(), []);
});

example('messages in a hidden tab are counted in the title', async ({ enter, room }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  const look = (hidden) =>
    alice.page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await look(true);
  await bob.type('one');
  await bob.type('two');
  await alice.page.waitForFunction(() => document.title.startsWith('(2) '));
  await look(false);
  await alice.page.waitForFunction((title) => document.title === title, `#${room} · chat`);
});
