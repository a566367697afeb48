// The reactions to close codes, as the documents say; and the waits.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { mock, test } from 'node:test';
import { backoff, reaction, retryAfter } from '../../../../web/client/codes.js';

const document = (name) => readFile(new URL(`../../../../docs/${name}`, import.meta.url), 'utf8');

/** The rows of the table that begins with a text. */
function rows(text, head) {
  const [, table] = text.split(head);
  const lines = table.split('\n\n')[0].split('\n').slice(2);
  return lines.map((row) => row.split('|').map((cell) => cell.trim()).slice(1));
}

test('comes back after the codes that docs/close-codes.md says, and after no others', async () => {
  const table = rows(await document('close-codes.md'), '| code | cause |');
  assert.ok(table.length > 10);
  for (const [code, cause, reason, verdict] of table) {
    if (code === "the client's") continue;
    const codes = code === 'none' ? [1005, 1006] : code.split('–').map(Number);
    const sent = reason.includes('retry-after') ? 'retry-after=2.4' : '';
    for (const each of codes) {
      const { stop, renew, at } = reaction(each, sent);
      // With a new token only: without one, the connection ends.
      assert.equal(!stop && !renew, verdict === 'yes', `${each} ${cause}`);
      if (sent) assert.equal(at, 2_400);
    }
  }
});

test('codes of docs/pusher.md stop, or let the client come back, as with pusher-js', async () => {
  const table = rows(await document('pusher.md'), '| code | cause | pusher-js |');
  assert.ok(table.length > 8);
  for (const [codes, cause, verdict] of table) {
    // A binary message, which this client never sends: close-codes.md counts.
    if (codes === '1003') continue;
    for (const code of codes.split(', ').map(Number)) {
      const { stop, now, least } = reaction(code, '');
      const expected = { stops: stop, 'comes back after a second': least === 1_000, 'comes back at once': now };
      assert.equal(expected[verdict], true, `${code} ${cause}`);
    }
  }
});

test('ranges of the protocol decide for every code in them', () => {
  for (const code of [4000, 4099, 4300, 4999, 3000, 1000, 1008]) assert.deepEqual(reaction(code, ''), { stop: true }, code);
  for (const code of [4100, 4199]) assert.deepEqual(reaction(code, ''), { least: 1_000 }, code);
  for (const code of [4200, 4299]) assert.deepEqual(reaction(code, ''), { now: true }, code);
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1015]) assert.deepEqual(reaction(code, ''), { least: 0 }, code);
  for (const code of [1012, 1013, 4200, 4100, 4503, 4001]) assert.deepEqual(reaction(code, 'retry-after=3'), { at: 3_000 }, code);
});

test('expired token is renewed, a revoked one is not', () => {
  assert.deepEqual(reaction(4401, 'token expired'), { renew: true });
  assert.deepEqual(reaction(4009, 'token expired'), { renew: true });
  assert.deepEqual(reaction(4009, 'token revoked'), { stop: true });
  assert.deepEqual(reaction(4403, 'token revoked'), { stop: true });
});

test('requested waits are read from the reason, up to a minute', () => {
  assert.equal(retryAfter('retry-after=2.4'), 2_400);
  assert.equal(retryAfter('busy; retry-after=10'), 10_000);
  assert.equal(retryAfter('retry-after=900'), 60_000);
  for (const other of ['', undefined, 'retry-after=', 'no-retry-after=3', 'retry-after=-1', 'retry-after=1e9']) {
    assert.equal(retryAfter(other), null, other);
  }
});

test('waits are uniform below a bound that doubles from one second to thirty', () => {
  const random = mock.method(Math, 'random', () => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 100].map(backoff), [1, 2, 4, 8, 16, 30, 30, 30].map((seconds) => seconds * 1_000));
  random.mock.mockImplementation(() => 0);
  assert.deepEqual([1, 9].map(backoff), [0, 0]);
  random.mock.mockImplementation(() => 0.25);
  assert.equal(backoff(2), 500);
  mock.restoreAll();
});
