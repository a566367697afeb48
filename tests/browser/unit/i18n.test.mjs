// Both languages are complete, with the same placeholders.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS } from '../../../web/commands.js';
import { guestName, parts, preferred, speak, t } from '../../../web/i18n.js';
import { LANGUAGES, WORDS } from '../../../web/words.js';
import { length } from '../../../web/text.js';

test('every text exists in every language, with the same placeholders', () => {
  const values = (template) => [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  for (const [key, row] of Object.entries(WORDS)) {
    assert.equal(row.length, LANGUAGES.length, key);
    for (const template of row) {
      assert.notEqual(template, '', key);
      assert.deepEqual(values(template), values(row[0]), key);
    }
  }
});

test('every command has a help text', () => {
  for (const { name, argument } of COMMANDS) {
    assert.ok(WORDS[`help-${name}`], name);
    if (argument) assert.ok(WORDS[argument], argument);
  }
});

test('the language is that of the browser, else English', () => {
  assert.equal(preferred(['zh-TW', 'en']), 'zh');
  assert.equal(preferred(['fr', 'ZH-CN']), 'zh');
  assert.equal(preferred(['fr', 'de']), 'en');
  assert.equal(preferred([undefined]), 'en');
  assert.equal(speak('constructor'), false);
});

test('values are inserted unchanged', () => {
  assert.ok(speak('en'));
  const nick = { nick: '{old} is <b>' };
  assert.deepEqual(parts('joined', { name: nick }), [nick, ' joined']);
  assert.equal(t('here', { n: 3 }), '3 here');
  assert.ok(speak('zh'));
  assert.equal(t('here', { n: 3 }), '3 人在线');
});

test('guest names are within the length limit', () => {
  for (const { name } of LANGUAGES) {
    speak(name);
    for (let i = 0; i < 50; i += 1) assert.ok(length(guestName()) <= 32);
  }
});
