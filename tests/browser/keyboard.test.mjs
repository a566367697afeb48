// The page with the keyboard only.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const example = chatAndBrowser();

example('login and chat work without a mouse', async ({ open, enter, room }) => {
  await enter('bobby');
  await enter('bob');
  const alice = await open();
  const { keyboard } = alice.page;
  const press = async (...keys) => {
    for (const key of keys) await keyboard.press(key);
  };
  const value = () => alice.line.inputValue();

  await keyboard.type('alice');
  await press('Enter');
  await alice.online();

  await keyboard.type('first');
  await press('Enter');
  await keyboard.type('second');
  await press('Enter');
  await alice.sees('alice │ second');
  await keyboard.type('draft');
  await press('ArrowUp');
  assert.equal(await value(), 'second');
  await press('ArrowUp');
  assert.equal(await value(), 'first');
  await press('ArrowUp');
  assert.equal(await value(), 'first');
  await press('ArrowDown', 'ArrowDown');
  assert.equal(await value(), 'draft');
  await press('Control+c');
  assert.equal(await value(), '');
  await alice.sees('draft^C');

  await keyboard.type('/m');
  await press('Tab');
  assert.equal(await value(), '/msg ');
  await keyboard.type('bo');
  await press('Tab');
  const first = await value();
  await press('Tab');
  const second = await value();
  assert.deepEqual([first, second].sort(), ['/msg bob ', '/msg bobby ']);
  await press('Tab');
  assert.equal(await value(), first);
  await press('Shift+Tab');
  assert.equal(await value(), second);
  assert.deepEqual(await alice.page.locator('#menu bdi').allTextContents(), [first, second].map((each) => each.slice(5).trim()));
  await alice.screenshot('completion');
  await keyboard.type('psst');
  await press('Enter');
  await alice.sees(`you → ${second.slice(5).trim()}: psst`);

  await keyboard.type('one');
  await press('Shift+Enter');
  await keyboard.type('two');
  await press('ArrowUp');
  assert.equal(await value(), 'one\ntwo');
  await press('Enter');
  await alice.sees('one\ntwo');

  await keyboard.type('zzz');
  await press('Tab');
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'line');
  await press('Escape', 'Tab');
  assert.notEqual(await alice.page.evaluate(() => document.activeElement.id), 'line');
  await keyboard.type('y');
  assert.equal(await value(), 'zzzy');

  await alice.page.locator('#help').focus();
  await press('Enter');
  await alice.sees('/join ROOM');
  await alice.line.fill('');
  await alice.line.focus();
  await keyboard.type(`/jo`);
  await press('Tab');
  await keyboard.type(`${room}-2`);
  await press('Enter');
  await alice.sees(`you are alice in #${room}-2`);
});

example('the editing keys of a shell', async ({ enter }) => {
  const alice = await enter('alice');
  const { keyboard } = alice.page;
  const press = async (...keys) => {
    for (const key of keys) await keyboard.press(key);
  };
  const state = () => alice.line.evaluate(({ value, selectionStart }) => [value, selectionStart]);
  await alice.line.focus();
  await keyboard.type('one two three');
  await press('Control+a');
  assert.deepEqual(await state(), ['one two three', 0]);
  await press('Control+e');
  assert.deepEqual(await state(), ['one two three', 13]);
  // Chromium keeps Ctrl+W to itself; other browsers pass it on.
  await alice.line.dispatchEvent('keydown', { key: 'w', ctrlKey: true, bubbles: true });
  assert.deepEqual(await state(), ['one two ', 8]);
  await press('Control+y');
  assert.deepEqual(await state(), ['one two three', 13]);
  await press('ArrowLeft', 'ArrowLeft', 'Control+k');
  assert.deepEqual(await state(), ['one two thr', 11]);
  await press('Control+u');
  assert.deepEqual(await state(), ['', 0]);
  await press('Control+y', 'Control+l');
  assert.deepEqual(await state(), ['one two thr', 11]);
  assert.deepEqual(await alice.lines(), []);
  await keyboard.type('x');
  await press('Shift+Enter');
  await keyboard.type('second');
  await press('Control+a', 'Control+k');
  assert.deepEqual(await state(), ['one two thrx\n', 13]);
  await alice.line.fill('');
});

example('a typed line is not lost with the tab', async ({ enter }) => {
  const alice = await enter('alice');
  const asks = () => alice.page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));
  assert.equal(await asks(), false);
  await alice.line.fill('half a thought');
  assert.equal(await asks(), true);
  await alice.line.fill('');
});

example('Enter accepts the suggested name', async ({ open }) => {
  const guest = await open();
  const question = await guest.page.locator('.sign-question').textContent();
  await guest.type('/join elsewhere');
  await guest.sees('choose a name first');
  await guest.type('/help');
  await guest.sees('/join ROOM');
  await guest.line.fill('');
  const [, suggested] = /^login \[(.+)\]:$/.exec(question);
  await guest.page.keyboard.press('Enter');
  await guest.online();
  await guest.sees(`you are ${suggested} in`);
});

example('Enter is left to the input method during composition', async ({ enter }) => {
  const alice = await enter('alice');
  const session = await alice.context.newCDPSession(alice.page);
  await alice.line.focus();
  await session.send('Input.imeSetComposition', { text: 'ni hao', selectionStart: 6, selectionEnd: 6 });
  await alice.line.dispatchEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true });
  await alice.line.dispatchEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true });
  assert.equal(await alice.line.inputValue(), 'ni hao');
  await session.send('Input.insertText', { text: '你好' });
  await alice.page.keyboard.press('Enter');
  await alice.sees('alice │ 你好');
  await alice.seesNot('ni hao');
});

example('every control has an accessible name, and the scrollback has the log role', async ({ enter }) => {
  const alice = await enter('alice');
  const nameless = await alice.page.evaluate(() =>
    [...document.querySelectorAll('button, textarea')]
      .filter((each) => each.checkVisibility())
      .filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim()))
      .map((each) => each.outerHTML),
  );
  assert.deepEqual(nameless, []);
  await alice.page.getByRole('log', { name: 'Conversation' }).waitFor();
  await alice.page.getByRole('textbox', { name: 'Message or command' }).waitFor();
  assert.equal(await alice.page.getByRole('status').textContent(), 'online');
});
