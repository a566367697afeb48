// What a typed line means.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../../../web/commands.js';

test('a line without a slash is said, as it is', () => {
  assert.deepEqual(parse('hello /join'), { kind: 'say', text: 'hello /join' });
  assert.deepEqual(parse('  indented '), { kind: 'say', text: '  indented' });
  assert.deepEqual(parse('two\nlines'), { kind: 'say', text: 'two\nlines' });
});

test('two slashes say one', () => {
  assert.deepEqual(parse('//etc/hosts'), { kind: 'say', text: '/etc/hosts' });
});

test('an empty line means nothing', () => {
  assert.deepEqual(parse(' \n\t'), { kind: 'nothing' });
});

test('a command and what follows it', () => {
  assert.deepEqual(parse('/join dev room '), { kind: 'command', name: 'join', rest: 'dev room' });
  assert.deepEqual(parse('/MSG bob two\nlines'), { kind: 'command', name: 'msg', rest: 'bob two\nlines' });
  assert.deepEqual(parse('/who'), { kind: 'command', name: 'who', rest: '' });
  assert.deepEqual(parse('/?'), { kind: 'command', name: 'help', rest: '' });
});

test('a command that lacks its argument', () => {
  assert.deepEqual(parse('/join'), { kind: 'missing', name: 'join' });
  assert.deepEqual(parse('/nick   '), { kind: 'missing', name: 'nick' });
});

test('an unknown command names the one that was near', () => {
  assert.deepEqual(parse('/jion x'), { kind: 'unknown', name: 'jion', near: 'join' });
  assert.deepEqual(parse('/hel'), { kind: 'unknown', name: 'hel', near: 'help' });
  assert.deepEqual(parse('/xyzzy'), { kind: 'unknown', name: 'xyzzy', near: null });
  assert.deepEqual(parse('/'), { kind: 'unknown', name: '', near: null });
});
