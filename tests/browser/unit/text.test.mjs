// Text from the wire: entities, hidden characters, lengths.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanName, colourOf, decode, length, mentions, segments } from '../../../web/text.js';

test('decodes exactly the entities the server writes', () => {
  assert.equal(decode('&amp; &lt; &gt; &quot; &#039; &#39;'), `& < > " ' '`);
  assert.equal(decode('&copy; &#60; &#x3c; &nbsp; &AMP; &lt'), '&copy; &#60; &#x3c; &nbsp; &AMP; &lt');
});

test('decodes only once, so that an escaped entity stays escaped', () => {
  assert.equal(decode('&amp;lt;b&amp;gt;'), '&lt;b&gt;');
  assert.equal(decode('&amp;amp;amp;'), '&amp;amp;');
});

test('a br tag is a line break, with or without the newline that nl2br keeps', () => {
  assert.equal(decode('a<br />b'), 'a\nb');
  assert.equal(decode('a<br />\nb<br />\r\nc'), 'a\nb\nc');
  assert.equal(decode('a<br />\n<br />\nb'), 'a\n\nb');
  assert.equal(decode('a<br>b<BR />'), 'a<br>b<BR />');
});

test('shows hidden characters by code point and leaves ordinary text unchanged', () => {
  assert.deepEqual(segments('plain 你好 👩‍👩‍👧'), [{ text: 'plain 你好 👩‍👩‍👧' }]);
  assert.deepEqual(segments('a\u202egpj.exe'), [{ text: 'a' }, { code: 'U+202E' }, { text: 'gpj.exe' }]);
  assert.deepEqual(segments('\u0000\u001b[31m'), [{ code: 'U+0000' }, { code: 'U+001B' }, { text: '[31m' }]);
  assert.deepEqual(segments('one\ntwo\tthree'), [{ text: 'one\ntwo\tthree' }]);
  assert.deepEqual(segments('שלום\u200f!'), [{ text: 'שלום\u200f!' }]);
});

test('a name is one line without hidden characters', () => {
  assert.equal(cleanName('  al\u200bice\u202e \n bob '), 'alice bob');
  assert.equal(cleanName('\u200b\u2060\u00ad'), '');
  assert.equal(cleanName('<b>&'), '<b>&');
});

test('counts by character', () => {
  assert.equal(length('a你👍'), 3);
});

test('a mention is a whole word, in any case', () => {
  assert.ok(mentions('hello Alice!', 'alice'));
  assert.ok(mentions('alice: hi', 'alice'));
  assert.ok(!mentions('malice', 'alice'));
  assert.ok(!mentions('alice2', 'alice'));
  assert.ok(mentions('malice and alice', 'alice'));
  assert.ok(mentions('请小明来', '小明'));
  assert.ok(!mentions('anything', ''));
});

test('a name keeps its color, and names are spread over the colors', () => {
  assert.equal(colourOf('alice', 12), colourOf('alice', 12));
  const used = new Set(Array.from({ length: 200 }, (_, i) => colourOf(`guest${i}`, 12)));
  assert.equal(used.size, 12);
});
