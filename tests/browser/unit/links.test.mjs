// Links in messages: what becomes one, and where it ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { segments } from '../../../web/text.js';

const links = (text) => segments(text).flatMap(({ link }) => link ?? []);

test('the text around links is unchanged', () => {
  const text = 'see https://example.com/a?b=c#d, and http://localhost:7272/.';
  assert.deepEqual(segments(text), [
    { text: 'see ' },
    { link: 'https://example.com/a?b=c#d' },
    { text: ', and ' },
    { link: 'http://localhost:7272/' },
    { text: '.' },
  ]);
  assert.equal(segments(text).map(({ text: plain, link }) => plain ?? link).join(''), text);
});

test('brackets belong to a link only if it opens them', () => {
  assert.deepEqual(links('(https://example.com/a)'), ['https://example.com/a']);
  assert.deepEqual(links('https://example.com/a_(b)'), ['https://example.com/a_(b)']);
  assert.deepEqual(links('[https://example.com/a], <https://example.com/b>'), ['https://example.com/a', 'https://example.com/b']);
});

test('a link ends at Chinese punctuation, and may contain Chinese', () => {
  assert.deepEqual(links('看https://example.com/构建，好'), ['https://example.com/构建']);
  assert.deepEqual(links('https://example.com/。'), ['https://example.com/']);
});

test('only addresses of web pages are links', () => {
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'ftp://a', 'file:///etc/passwd', 'example.com', 'https://', 'http://[']) {
    assert.deepEqual(links(text), [], text);
  }
});

test('a hidden character ends a link', () => {
  assert.deepEqual(segments('https://example.com/\u202egpj'), [
    { link: 'https://example.com/' },
    { code: 'U+202E' },
    { text: 'gpj' },
  ]);
});
