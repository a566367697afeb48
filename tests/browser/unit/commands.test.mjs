// Parsing of typed lines.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../../../web/commands.js';

test('a line without a slash is sent unchanged', () => {
  assert.deepEqual(parse('hello /join'), { kind: 'say', text: 'hello /join' });
  assert.deepEqual(parse('  indented '), { kind: 'say', text: '  indented' });
  assert.deepEqual(parse('two\nlines'), { kind: 'say', text: 'two\nlines' });
});

test('two slashes are sent as one', () => {
  assert.deepEqual(parse('//etc/hosts'), { kind: 'say', text: '/etc/hosts' });
});

test('an empty line is ignored', () => {
  assert.deepEqual(parse(' \n\t'), { kind: 'nothing' });
});

test('a command with its argument', () => {
  assert.deepEqual(parse('/join dev room '), { kind: 'command', name: 'join', rest: 'dev room' });
  assert.deepEqual(parse('/MSG bob two\nlines'), { kind: 'command', name: 'msg', rest: 'bob two\nlines' });
  assert.deepEqual(parse('/who'), { kind: 'command', name: 'who', rest: '' });
  assert.deepEqual(parse('/?'), { kind: 'command', name: 'help', rest: '' });
});

test('a command without its argument', () => {
  assert.deepEqual(parse('/join'), { kind: 'missing', name: 'join' });
  assert.deepEqual(parse('/nick   '), { kind: 'missing', name: 'nick' });
});

test('an unknown command suggests a similar one', () => {
  assert.deepEqual(parse('/jion x'), { kind: 'unknown', name: 'jion', near: 'join' });
  assert.deepEqual(parse('/hel'), { kind: 'unknown', name: 'hel', near: 'help' });
  assert.deepEqual(parse('/xyzzy'), { kind: 'unknown', name: 'xyzzy', near: null });
  assert.deepEqual(parse('/'), { kind: 'unknown', name: '', near: null });
});
