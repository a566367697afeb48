// The package: its size, its parts, and the bundle.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { bundle } from '../../../../web/client/bundle.mjs';
import * as client from '../../../../web/client/index.js';

const FOLDER = new URL('../../../../web/client/', import.meta.url);
const text = (name) => readFileSync(new URL(name, FOLDER), 'utf8');

test('bundle is under 10 KB compressed', (t) => {
  const { length } = gzipSync(bundle());
  t.diagnostic(`${length} bytes`);
  assert.ok(length < 10_000, `${length} bytes`);
});

test('package depends on nothing', () => {
  const { dependencies, peerDependencies, engines, version } = JSON.parse(text('package.json'));
  assert.deepEqual([dependencies, peerDependencies, engines.node], [undefined, undefined, '>=22']);
  assert.ok(text('client.js').includes(`const VERSION = '${version}'`), 'the version that the server sees');
  for (const name of readdirSync(FOLDER).filter((each) => each.endsWith('.js'))) {
    for (const [, from] of text(name).matchAll(/from '(.*)'/g)) assert.ok(from.startsWith('./'), `${name}: ${from}`);
  }
});

test('bundle has all modules, each once, and what the package exports', async () => {
  const code = bundle();
  const own = (each) => each.endsWith('.js') && !['index.js', 'push-suite-client.js'].includes(each);
  for (const name of readdirSync(FOLDER).filter(own)) {
    const [, exported] = /^export (?:async )?(?:class|function|const) (\w+)/m.exec(text(name));
    assert.equal(code.match(new RegExp(`^(?:async )?(?:class|function|const) ${exported}\\b`, 'gm'))?.length, 1, name);
  }
  const module = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  assert.deepEqual(Object.keys(module), Object.keys(client));
});

test('types declare what the package exports', () => {
  const declared = text('index.d.ts');
  for (const name of Object.keys(client).filter((each) => each !== 'default')) {
    assert.match(declared, new RegExp(`^export class ${name} `, 'm'));
  }
});
