// Tokens of the application at a gateway that verifies them: a wrong one, and one that expires.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import Client from 'push-suite-client';
import { next } from '../scenarios.mjs';
import { startSuite } from '../suite.mjs';

const SECRET = Buffer.alloc(32, 7);
const base64 = (value) => Buffer.from(value).toString('base64url');

/** A token of Ann that expires after some seconds. */
function token(seconds, secret = SECRET) {
  const claims = { sub: 'ann', exp: Math.floor(Date.now() / 1_000) + seconds };
  const text = `${base64('{"alg":"HS256","kid":"k"}')}.${base64(JSON.stringify(claims))}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

let suite;
before(async () => {
  const keys = path.join(mkdtempSync(path.join(process.env.CLIENTS_LOGS ?? tmpdir(), 'keys-')), 'keys.json');
  writeFileSync(keys, JSON.stringify({ keys: [{ kty: 'oct', kid: 'k', k: base64(SECRET) }] }));
  suite = await startSuite(['--handshake-auth', 'jwt', '--jwt-keys', keys, '--subprotocol', 'pusher']);
});
after(() => suite?.stop());

describe('tokens', { concurrency: true }, () => {
  for (const subprotocol of [undefined, 'pusher']) {
    test(`token is renewed when it was refused, and when it has expired (${subprotocol ?? 'URL'})`, { timeout: 90_000 }, async () => {
      const tokens = [token(60, Buffer.alloc(32, 8)), token(2), token(60)];
      const asked = [];
      const client = new Client('app-key', {
        hosts: [`127.0.0.1:${suite.port}`], forceTLS: false, subprotocol,
        token: async ({ expired }) => tokens[asked.push(expired) - 1],
      });
      const connected = () => next('connected', (done) => client.connection.bind('connected', done));
      await connected();
      assert.deepEqual(asked, [false, false]);
      // A gateway gives a client 25 seconds to renew its token.
      const closed = new Promise((resolve) => client.connection.bind('error', ({ data }) => resolve(data)));
      const back = new Promise((resolve) => client.connection.bind('connected', resolve));
      assert.deepEqual(await closed, { code: 4009, message: 'token expired' });
      await back;
      assert.deepEqual(asked, [false, false, true]);
      client.disconnect();
    });
  }
});
