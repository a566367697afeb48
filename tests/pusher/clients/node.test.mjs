// pusher-js and Laravel Echo in Node.

import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import Echo from 'laravel-echo';
import nacl from 'tweetnacl';
import { startApplication } from './application.mjs';
import { environment, scenarios } from './scenarios.mjs';
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
