// The chat's own page, with two users in a room and one in another.
//
//   node chat.mjs URL STACK

import { check, person, run, until, url } from './page.mjs';

const said = (page) => page.locator('#dialog .speech_item p').allInnerTexts();
const listed = (page) => page.locator('#userlist li').allInnerTexts();
const hears = (page, text) =>
  until(`hears ${text}`, page, (wanted) => [...document.querySelectorAll('#dialog .speech_item p')].some((line) => line.innerText.includes(wanted)), text);
const sees = (page, names) =>
  until(`sees ${names}`, page, (wanted) => [...document.querySelectorAll('#userlist li')].map((item) => item.innerText).sort().join() === wanted, [...names].sort().join());
async function say(page, text, to = 'all') {
  if (to === 'all') await page.locator('#client_list').selectOption('all');
  else await page.locator('#client_list').selectOption({ label: to });
  await page.locator('#textarea').fill(text);
  await page.locator('input[type=submit]').click();
}

await run('chat', async () => {
  const alice = await person('Alice');
  await hears(alice, '加入了聊天室');
  await sees(alice, ['Alice']);
  const bob = await person('Bob');
  await sees(bob, ['Alice', 'Bob']);
  await sees(alice, ['Alice', 'Bob']);
  await hears(alice, 'Bob 加入了聊天室');
  const carol = await person('Carol', `${url}?room_id=2`);
  await sees(carol, ['Carol']);
  check('another room is another list', (await listed(alice)).length, 2);

  await say(alice, 'hello room');
  for (const page of [alice, bob]) await hears(page, 'hello room');
  await say(bob, '<script>window.pwned = 1</script><img src=x onerror="window.pwned=1">');
  for (const page of [alice, bob]) await hears(page, '<script>window.pwned = 1</script>');
  await say(alice, '中文 räume 🐸');
  await hears(bob, '中文 räume 🐸');

  await say(alice, 'for you alone', 'Bob');
  await hears(bob, '对你说: for you alone');
  await hears(alice, '你对Bob说: for you alone');

  await say(carol, 'other room');
  await hears(carol, 'other room');
  check('rooms are apart', (await said(alice)).some((line) => line.includes('other room')), false);
  check('rooms are apart', (await said(carol)).some((line) => line.includes('hello')), false);

  const mallory = await person('<b id="evil">M</b>');
  await until('a name with markup is text', alice, () => [...document.querySelectorAll('#userlist li')].some((item) => item.innerText.includes('evil')));
  for (const page of [alice, bob, mallory]) {
    check('no markup came to life', await page.evaluate(() => [window.pwned, document.querySelector('#evil') === null]), [undefined, true]);
  }
  await bob.context().close();
  await hears(alice, 'Bob 退出了');
  await mallory.context().close();
  await sees(alice, ['Alice']);
  await say(alice, 'still here');
  await hears(alice, 'still here');
});
