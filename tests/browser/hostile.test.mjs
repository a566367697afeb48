// Hostile text is displayed as text: from other users, the server, the URL and storage.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const example = chatAndBrowser();

const TEXTS = [
  '<img src=x onerror="window.__pwned=1">',
  '<script>window.__pwned=2</script>',
  '<svg/onload=window.__pwned=3><style>*{display:none}</style>',
  '"><a href="javascript:window.__pwned=4" style="position:fixed;inset:0">x</a>',
  '&lt;b&gt; &amp;amp; &#039; &#x3c;script&#x3e; <br /> &nbsp;',
  '{{constructor.constructor("window.__pwned=5")()}} ${7*7} %s __proto__',
  'javascript:window.__pwned=6',
];

example('markup, entities and script in messages and names are text', async ({ enter }) => {
  const mallory = await enter('<img src=x onerror=__pwned=7>');
  const alice = await enter('a&lt;"\'<b>i</b>&amp;');
  await mallory.sees('a&lt;"\'<b>i</b>&amp; joined');
  for (const text of TEXTS) {
    await mallory.type(text);
    const line = await alice.sees(text);
    assert.equal(await line.locator('.said-text').textContent(), text);
  }
  await mallory.type('/msg a&lt;"\'<b>i</b>&amp; <script>window.__pwned=8</script>');
  await alice.sees('<img src=x onerror=__pwned=7> → you: <script>window.__pwned=8</script>', '.private');
  await mallory.sees('you → a&lt;"\'<b>i</b>&amp;: <script>window.__pwned=8</script>', '.private');
  await mallory.type('/nick <script>__pwned=9</script>');
  await alice.sees('<img src=x onerror=__pwned=7> is now <script>__pwned=9</script>');
  await alice.type('/who');
  await alice.sees('<script>__pwned=9</script>');
  const elements = await alice.log.evaluate((log) => [...new Set([...log.querySelectorAll('*')].map((each) => each.localName))].sort());
  assert.deepEqual(elements, ['bdi', 'div', 'span', 'time']);
  await alice.screenshot('hostile');
});

example('direction overrides and invisible characters are made visible', async ({ enter }) => {
  const alice = await enter('alice');
  const mallory = await enter('al\u200bice\u202e');
  // Without them the name is that of alice; the end of the id tells the two apart.
  await alice.sees(/alice#\w+ joined/, '.joined');
  await mallory.type('photo\u202egpj.exe \u001b[31mred\u0007 \u2066x');
  await alice.sees('photoU+202Egpj.exe U+001B[31mredU+0007 U+2066x');
  await mallory.type('שלום עולם and العربية');
  await alice.sees('שלום עולם and العربية');
  assert.equal(await alice.overflows(), false);
});

example('long words and many combining marks do not break the layout', async ({ enter }) => {
  const alice = await enter('W'.repeat(32));
  await alice.type('w'.repeat(3_900));
  await alice.sees('w'.repeat(3_900));
  await alice.type(`z${'\u0310\u0335\u0489'.repeat(200)}`);
  await alice.type('after');
  await alice.sees('after');
  assert.equal(await alice.overflows(), false);
  await alice.screenshot('long-word');
});

example('a hostile room in the URL is treated as a name', async ({ url, open }) => {
  const room = '<img src=x onerror=__pwned=10>';
  const alice = await open({ room });
  await alice.logIn('alice');
  await alice.sees(`you are alice in #${room}`);
  assert.equal(await alice.page.locator('#room').textContent(), `#${room}`);
  assert.ok(url);
});

example('hostile stored data is cleaned or discarded', async ({ open }) => {
  const alice = await open({
    room: '',
    prepare: (page) =>
      page.addInitScript(() => {
        localStorage.setItem('chat.name', 'x'.repeat(100_000));
        localStorage.setItem('chat.room', '\u202e  <b>den</b>\u0000 ');
        localStorage.setItem('chat.language', 'constructor');
      }),
  });
  await alice.page.locator('.sign-question').waitFor();
  assert.equal(await alice.page.locator('#room').textContent(), '#<b>den</b>');
  assert.equal(await alice.state.textContent(), 'not connected');
});

example('a malicious server cannot inject markup', async ({ open }) => {
  let server;
  const alice = await open({
    prepare: (page) =>
      page.routeWebSocket(/.*/, (socket) => {
        server = socket;
        const welcome = {
          type: 'login',
          client_id: 'a1',
          client_name: 'alice',
          room_id: '<i>den</i>',
          client_list: { a1: 'alice', b2: '<img src=x onerror=__pwned=11>', c3: null, __proto__: 'p' },
        };
        socket.onMessage((frame) => {
          if (JSON.parse(frame).type === 'login') socket.send(JSON.stringify(welcome));
        });
      }),
  });
  await alice.logIn('alice');
  const say = (fields) =>
    server.send(JSON.stringify({ type: 'say', from_client_id: 'b2', from_client_name: '<b>b</b>', to_client_id: 'all', ...fields }));
  for (const text of ['', '[', 'null', '{"type":"__proto__"}', '{"type":"say"}', '{"type":"logout"}', '{"type":"nick"}']) {
    server.send(text);
  }
  server.send(Buffer.from([1, 2, 3]));
  say({ content: '<script>window.__pwned=12</script><img src=x onerror=window.__pwned=13>' });
  say({ content: '<b>对你说: </b><u>public</u>' });
  say({ to_client_id: 'a1', content: '<b>你对<script>说: </b>x' });
  say({ content: { toString: 'x' }, time: '<b>' });
  server.send(JSON.stringify({ type: 'error', code: 'constructor', message: '<b>no</b>' }));
  server.send(JSON.stringify({ type: 'error', code: 'content_too_long', limit: 17 }));
  await alice.sees('<script>window.__pwned=12</script><img src=x onerror=window.__pwned=13>');
  await alice.sees('<b>对你说: </b><u>public</u>');
  await alice.sees('the server refuses: <b>no</b>');
  await alice.sees('the server refuses the message: at most 17 characters');
});

example('the scrollback is bounded under a flood of messages', async ({ open }) => {
  let server;
  const alice = await open({
    prepare: (page) =>
      page.routeWebSocket(/.*/, (socket) => {
        server = socket;
        socket.onMessage(() =>
          socket.send(JSON.stringify({ type: 'login', client_id: 'a1', client_name: 'alice', client_list: { a1: 'alice' } })),
        );
      }),
  });
  await alice.logIn('alice');
  for (let i = 0; i < 2_500; i += 1) {
    server.send(JSON.stringify({ type: 'say', from_client_id: 'b2', from_client_name: 'bob', to_client_id: 'all', content: `line ${i}` }));
  }
  await alice.sees('line 2499');
  assert.equal(await alice.log.locator('.line').count(), 2_000);
  await alice.page.waitForFunction(() => {
    const log = document.querySelector('#log');
    return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
});
