// Replaces in soketi's tests what docs/pusher.md says is replaced, so that the rest of a case counts.
//
//   node replace.mjs FOLDER

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const INFO = "info: channelName.startsWith('presence-') ? 'subscription_count,user_count' : 'subscription_count'";
const CLOSED = "client.connection.bind('error', ({ error }) => {\n if (error) {";

const REPLACED = [
  // Users are text.
  [/\b(data|metadata|webhookEvent)\.(id|user_id)\)\.toBe\((\d)\)/g, "$1.$2).toBe('$3')"],
  [/'app-key', \{ id: 1 \}\)/g, "'app-key', { id: '1' })"],
  // `data` is always present, and text in webhooks.
  [/expect\(data\)\.toBe\(undefined\)/g, 'expect(data).toEqual({})'],
  [/webhookEvent\.data\.message/g, 'JSON.parse(webhookEvent.data).message'],
  // Attributes are those that are asked for.
  [/\{ path: '\/channels' \}/g, "{ path: '/channels', params: { info: 'subscription_count' } }"],
  [/\{ path: '\/channels\/' \+ channelName \}/g, `{ path: '/channels/' + channelName, params: { ${INFO} } }`],
  [/\{ filter_by_prefix: `presence-` \}/g, "{ filter_by_prefix: 'presence-', info: 'subscription_count' }"],
  [/expect\(body\.channels\[channelName\]\.occupied\)\.toBe\(true\);/g, ''],
  // 4009 is a close code, which pusher-js reports as an error.
  [/client\.connection\.bind\('message', \(error\) => \{\s*if \(error\.event === 'pusher:error'\) \{/g, CLOSED],
  // Pages for operators.
  [/'http:\/\/127\.0\.0\.1:6001'/g, "'http://127.0.0.1:6001/up'"],
  [/127\.0\.0\.1:9601\/usage/g, '127.0.0.1:9601/metrics'],
];

const [folder] = process.argv.slice(2);
const used = new Set();
for (const name of readdirSync(folder).filter((each) => each.endsWith('.test.ts'))) {
  const file = path.join(folder, name);
  let text = readFileSync(file, 'utf8');
  for (const [pattern, replacement] of REPLACED) {
    const replaced = text.replace(pattern, replacement);
    if (replaced !== text) used.add(pattern);
    text = replaced;
  }
  writeFileSync(file, text);
}
for (const [pattern] of REPLACED) {
  if (!used.has(pattern)) throw new Error(`nothing matches ${pattern}`);
}
