// permessage-deflate with Chromium: negotiated, used in both directions, invisible to the page.

import assert from 'node:assert/strict';
import { chatAndBrowser } from './page.mjs';

const example = chatAndBrowser(['--compression', 'all', '--compression-min-size', '64']);

const EXTENSIONS = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

example(
  'two tabs talk over compressed connections',
  async ({ gateway, enter }) => {
    const recordSockets = async (page) =>
      page.addInitScript(() => {
        globalThis.sockets = [];
        const Original = WebSocket;
        globalThis.WebSocket = class extends Original {
          constructor(...given) {
            super(...given);
            globalThis.sockets.push(this);
          }
        };
      });
    const alice = await enter('alice', { prepare: recordSockets });
    const bob = await enter('bob', { prepare: recordSockets });
    const long = Array.from({ length: 40 }, (_, number) => `line ${number}: the order has arrived, 订单已到`).join('\n');
    await alice.type(long);
    await bob.sees('line 39: the order has arrived, 订单已到');
    await bob.type('short');
    await alice.sees('short');

    for (const person of [alice, bob]) {
      const extensions = await person.page.evaluate(() => globalThis.sockets.map((socket) => socket.extensions));
      assert.deepEqual(extensions, [EXTENSIONS]);
    }
    const bytes = (name) => gateway.metric(`pushsuite_gateway_deflated_${name}_bytes_total`);
    for (const direction of ['in', 'out']) {
      const [plain, wire] = [await bytes(direction), await bytes(`${direction}_wire`)];
      assert.ok(long.length < plain && wire < plain / 2, `${direction}: ${plain} bytes, ${wire} sent`);
    }
  },
  { needsGateway: true },
);
