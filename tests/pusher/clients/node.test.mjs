// pusher-js and Laravel Echo in Node.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import Echo from 'laravel-echo';
import nacl from 'tweetnacl';
import { startApplication } from './application.mjs';
import { environment, next, scenarios } from './scenarios.mjs';
import { startSuite } from './suite.mjs';

const Pusher = createRequire(import.meta.url)('pusher-js');

let suite;
let application;
before(async () => {
  suite = await startSuite();
  application = await startApplication(suite.http);
});
after(async () => {
  await application?.stop();
  await suite?.stop();
});

test('options of docs/pusher.md connect', { timeout: 90_000 }, async () => {
  const [, code] = readFileSync(process.env.PUSHER_DOCUMENT, 'utf8').match(/^```js\n(.*?)^```$/ms);
  const local = `wsHost: '127.0.0.1', wsPort: ${suite.port}, wssPort: 443, forceTLS: false`;
  const [documented] = code.match(/wsHost: .* forceTLS: true/);
  const make = new Function('Pusher', `${code.replace(documented, local)}\nreturn pusher;`);
  const pusher = make(Pusher);
  const channel = pusher.subscribe('news');
  await next('a subscription', (done) => channel.bind('pusher:subscription_succeeded', done));
  pusher.disconnect();
});

for (const [name, run] of Object.entries(scenarios)) {
  test(name, { timeout: 90_000 }, async () => {
    const { port } = suite;
    const world = environment({ port, application: application.url, make: () => Pusher, Echo, extra: { nacl } });
    try {
      await run(world);
    } finally {
      world.close();
    }
  });
}
