// Layout and appearance: narrow screens, two languages, two themes, contrast.

import assert from 'node:assert/strict';
import { chatAndBrowser, PHONE } from './page.mjs';

const example = chatAndBrowser();

/** A few lines of every kind, for screenshots. */
async function conversation(alice, bob) {
  await alice.type('morning! is the new gateway up?');
  await bob.type('it is. alice: restarted an hour ago, and nobody noticed');
  await alice.type('大家好，今天的构建已经通过了，可以发布了。');
  await bob.type('the process that holds sockets never runs business code, and the process that runs business code never holds sockets');
  await alice.type('fn main() {\n    println!("hello");\n}');
  await bob.type('/msg alice lunch at twelve?');
  await alice.sees('lunch at twelve?');
  await alice.type('/msg bob gladly');
  await bob.sees('gladly');
}

example('a narrow screen: no overflow, the input is in view, touch targets are large enough', async ({ enter }) => {
  const bob = await enter('bob');
  const alice = await enter('alice', { context: PHONE });
  await conversation(alice, bob);
  await bob.type('w'.repeat(300));
  await alice.sees('w'.repeat(300));
  assert.equal(await alice.overflows(), false);
  await alice.screenshot('phone');

  const line = await alice.line.boundingBox();
  assert.ok(line.x >= 0 && line.x + line.width <= 360 && line.y >= 0 && line.y + line.height <= 640);
  assert.ok(line.width > 120, `${line.width} px to type in`);
  assert.ok(parseFloat(await alice.line.evaluate((each) => getComputedStyle(each).fontSize)) >= 16);

  await alice.log.locator('.nick', { hasText: 'bob' }).last().tap();
  assert.equal(await alice.line.inputValue(), '/msg bob ');
  await alice.line.pressSequentially('tapped');
  await alice.page.locator('#send').tap();
  await bob.sees('alice → you: tapped');

  await alice.page.locator('[data-key="up"]').tap();
  assert.equal(await alice.line.inputValue(), '/msg bob tapped');
  await alice.page.locator('[data-key="down"]').tap();
  await alice.page.locator('[data-key="slash"]').tap();
  await alice.line.pressSequentially('wh');
  await alice.page.locator('[data-key="tab"]').tap();
  assert.equal(await alice.line.inputValue(), '/who ');
  await alice.page.locator('#send').tap();
  await alice.sees('2 in #');
  await alice.page.locator('#help').tap();
  await alice.sees('/join ROOM');
  assert.equal(await alice.overflows(), false);
  await alice.screenshot('phone-help');

  await alice.page.setViewportSize({ width: 360, height: 340 });
  const raised = await alice.line.boundingBox();
  assert.ok(raised.y + raised.height <= 340, 'the line is above the virtual keyboard');
});

for (const colorScheme of ['light', 'dark']) {
  example(`the prompt of a narrow phone shows the room (${colorScheme})`, async ({ open }) => {
    const widths = async (name, room) => {
      const guest = await open({ room, context: { ...PHONE, colorScheme } });
      await guest.logIn(name);
      await guest.screenshot(`phone-prompt-${colorScheme}-${room.length}`);
      assert.equal(await guest.overflows(), false);
      const line = await guest.line.boundingBox();
      assert.ok(line.width > 120 && line.x + line.width <= 360, `${line.width} px to type in`);
      const parts = await guest.page.evaluate(() =>
        ['name', 'at', 'room', 'mark'].map((part) => {
          const each = document.querySelector(`#sign .sign-${part}`);
          const { left, right, width } = each.getBoundingClientRect();
          const digit = parseFloat(getComputedStyle(each).fontSize) / 2;
          return { text: each.textContent, left, right, width, isWhole: each.scrollWidth <= each.clientWidth + 1, digit };
        }),
      );
      for (const [part, next] of parts.slice(1).map((next, at) => [parts[at], next])) {
        assert.ok(part.right <= next.left + 1, 'one beside the other');
      }
      assert.ok(parts[3].right <= line.x + 1, 'the line begins behind it');
      assert.equal(parts[2].text, room, 'whole for those who do not see it');
      return parts;
    };
    const [name, , room] = await widths('ann', 'lobby');
    assert.ok(name.isWhole && room.isWhole, 'short names are shown whole');
    const [long, , other] = await widths('bartholomew-the-third', 'the-room-of-requirements');
    assert.ok(!other.isWhole && !long.isWhole, 'long ones are cut');
    assert.ok(other.width > 4 * other.digit && other.width > long.width, `${other.width} px of the room`);
  });
}

example('the first screen of a phone shows where to write, and a tap anywhere begins', async ({ open }) => {
  const guest = await open({ context: PHONE });
  await guest.sees('What is written in a room');
  await guest.sees('tap join');
  await guest.seesNot('press Enter');
  const frame = await guest.line.evaluate((line) => {
    const { borderTopWidth, borderTopStyle } = getComputedStyle(line);
    const hint = getComputedStyle(line, '::placeholder').color;
    return [borderTopWidth, borderTopStyle, line.placeholder, hint !== 'rgba(0, 0, 0, 0)'];
  });
  assert.deepEqual(frame, ['1px', 'solid', 'your name', true]);
  assert.equal(await guest.page.evaluate(() => document.activeElement.id), '');
  await guest.page.touchscreen.tap(180, 200);
  assert.equal(await guest.page.evaluate(() => document.activeElement.id), 'line');
  await guest.line.fill('ann');
  await guest.page.getByRole('button', { name: 'join' }).tap();
  await guest.online();
  await guest.page.getByRole('button', { name: 'Send' }).waitFor();
});

example('touch: controls are large enough, candidates can be tapped, sizes agree', async ({ enter }) => {
  const alice = await enter('alice', { context: PHONE });
  const small = () =>
    alice.page.evaluate(() =>
      [...document.querySelectorAll('button')]
        .filter((button) => button.checkVisibility())
        .map((button) => [button.textContent, button.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 36 || height < 30)
        .map(([text]) => text),
    );
  assert.deepEqual(await small(), []);
  await alice.page.locator('[data-key="slash"]').tap();
  await alice.page.locator('[data-key="tab"]').tap();
  assert.deepEqual(await small(), []);
  await alice.page.locator('#menu button', { hasText: '/lang' }).tap();
  assert.equal(await alice.line.inputValue(), '/lang ');
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'line');
  const sizes = await alice.page.evaluate(() =>
    ['#sign bdi', '#line', '#send'].map((each) => getComputedStyle(document.querySelector(each)).fontSize),
  );
  assert.equal(new Set(sizes).size, 1, sizes.join(' '));
  await alice.screenshot('phone-menu');
  await alice.line.fill('');
});

example('a phone on its side keeps most of the screen for the conversation', async ({ enter }) => {
  const alice = await enter('alice', { context: { ...PHONE, viewport: { width: 740, height: 360 } } });
  const { height } = await alice.log.boundingBox();
  assert.ok(height > 0.7 * 360, `${height} of 360 px`);
  assert.equal(await alice.overflows(), false);
  await alice.screenshot('phone-landscape');
});

for (const [kind, context] of [['desktop', {}], ['phone', PHONE]]) {
  example(`a long word begins beside the name (${kind})`, async ({ enter }) => {
    const alice = await enter('alice', { context });
    await alice.type('w'.repeat(300));
    const line = await alice.sees('w'.repeat(300));
    const [name, text] = await line.evaluate((each) => {
      const box = (selector) => each.querySelector(selector).getClientRects()[0].top;
      return [box('.nick'), box('.said-text')];
    });
    assert.ok(Math.abs(name - text) < 6, `${name} and ${text}`);
    assert.equal(await alice.overflows(), false);
  });
}

example('rows have the height of a line', async ({ enter }) => {
  const alice = await enter('alice');
  await alice.type('short');
  const line = await alice.sees('alice │ short');
  const [height, leading] = await line.evaluate((each) => [each.getBoundingClientRect().height, parseFloat(getComputedStyle(each).lineHeight)]);
  assert.ok(height < leading * 1.2, `${height} px for a line of ${leading}`);
});

example('forced colours keep the lamp, mentions and private messages apart', async ({ enter }) => {
  const alice = await enter('alice', { context: { forcedColors: 'active' } });
  const bob = await enter('bob');
  await bob.type('/msg alice psst');
  await bob.type('alice: hello');
  const widths = (await Promise.all(['.private', '.mention'].map((kind) => alice.sees('', kind)))).map((line) =>
    line.evaluate((each) => getComputedStyle(each).borderRightWidth),
  );
  assert.deepEqual(await Promise.all(widths), ['4px', '4px']);
  assert.equal(await alice.page.locator('.lamp').evaluate((lamp) => getComputedStyle(lamp).borderTopWidth), '1px');
  await alice.screenshot('forced-colours');
});

example('without JavaScript there is only the message', async ({ browser, url }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(url);
  assert.match(await page.locator('.noscript').innerText(), /needs JavaScript/);
  assert.equal(await page.locator('header').isVisible(), false);
  assert.equal(await page.locator('main').isVisible(), false);
  await context.close();
});

example('Chinese browsers get Chinese, and a changed language is kept', async ({ open, room }) => {
  const reader = await open({ context: { locale: 'zh-CN' } });
  await reader.page.locator('.sign-question').filter({ hasText: /^登录名 \[.*[一-龥]+.*\]:$/ }).waitFor();
  assert.equal(await reader.page.locator('html').getAttribute('lang'), 'zh-Hans');
  await reader.screenshot('chinese-login');
  await reader.logIn('小明');
  await reader.sees(`你以 小明 的身份进入了 #${room}`);
  assert.equal(await reader.state.textContent(), '在线');
  await reader.type('大家好！');
  await reader.sees('小明 │ 大家好！');
  await reader.type('/help');
  await reader.sees('进入另一个房间');
  await reader.screenshot('chinese-help');

  await reader.type('/lang en');
  await reader.sees('This page is now in English.');
  assert.equal(await reader.state.textContent(), 'online');
  await reader.page.reload();
  await reader.online();
  await reader.sees(`you are 小明 in #${room}`);
  await reader.page.locator('#language').click();
  assert.equal(await reader.state.textContent(), '在线');
  await reader.type('/lang xx');
  await reader.sees('可选语言：en、zh');
});

for (const colorScheme of ['dark', 'light']) {
  example(`every colour of the ${colorScheme} theme is readable`, async ({ enter }) => {
    const alice = await enter('alice', { context: { colorScheme } });
    const bob = await enter('bob');
    await conversation(alice, bob);
    await alice.type('/jion');
    await alice.sees('no such command');
    await alice.screenshot(colorScheme);
    await alice.type('/help');
    await alice.screenshot(`${colorScheme}-help`);
    assert.deepEqual(await alice.page.evaluate(faintColours), []);
  });
}

/** Runs in the page: texts with a contrast below 4.5 to their background, in all name colors. */
function faintColours() {
  const log = document.querySelector('#log');
  for (let i = 0; i < 24; i += 1) {
    const line = document.createElement('div');
    line.className = i % 2 ? 'line private' : 'line mention';
    const nick = document.createElement('bdi');
    nick.className = `nick c${i}`;
    nick.textContent = `colour ${i}`;
    line.append(nick);
    log.append(line);
  }
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colours) => {
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.matches('.rule, noscript') || !element.checkVisibility()) continue;
    const above = [];
    for (let at = element; at; at = at.parentElement) above.unshift(getComputedStyle(at));
    const ground = above.map((style) => style.backgroundColor);
    const opacity = above.reduce((product, style) => product * parseFloat(style.opacity), 1);
    const back = paint(ground);
    const front = paint([...ground, getComputedStyle(element).color]).map((v, i) => v * opacity + back[i] * (1 - opacity));
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.push(`${texts.currentNode.data}: ${contrast.toFixed(2)}`);
  }
  return faint;
}

example('reduced motion is respected', async ({ open }) => {
  const reader = await open({ context: { reducedMotion: 'reduce' } });
  const moving = await reader.page.evaluate(() => {
    document.documentElement.dataset.state = 'waiting';
    return document.getAnimations().length;
  });
  assert.equal(moving, 0);
});

example('new lines do not scroll a reader away, and are announced', async ({ enter }) => {
  const alice = await enter('alice');
  const bob = await enter('bob');
  for (let i = 0; i < 40; i += 1) await alice.type(`line ${i}`);
  await alice.sees('line 39');
  const atEnd = () => alice.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2);
  await alice.page.waitForFunction(() => {
    const log = document.querySelector('#log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
  await alice.line.press('PageUp');
  await alice.page.waitForTimeout(300);
  const before = await alice.log.evaluate((log) => log.scrollTop);
  await bob.type('news');
  await bob.type('more news');
  const hint = alice.page.locator('#newer');
  await hint.filter({ hasText: '↓ 2 new' }).waitFor();
  assert.equal(await alice.log.evaluate((log) => log.scrollTop), before);
  await alice.screenshot('new-messages');
  await hint.click();
  await hint.waitFor({ state: 'hidden' });
  assert.ok(await atEnd());
});

example('clicking the scrollback focuses the input, but keeps a selection', async ({ enter }) => {
  const alice = await enter('alice');
  await alice.type('select these words');
  const line = await alice.sees('select these words');
  await line.locator('.said-text').selectText();
  await alice.page.evaluate(() => document.querySelector('#log').click());
  assert.equal(await alice.page.evaluate(() => String(getSelection())), 'select these words');
  await alice.page.evaluate(() => {
    getSelection().removeAllRanges();
    document.activeElement.blur();
  });
  await line.locator('.said-text').click();
  assert.equal(await alice.page.evaluate(() => document.activeElement.id), 'line');
});
