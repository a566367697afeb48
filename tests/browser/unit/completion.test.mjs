// Tab completion and command history.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Completion } from '../../../web/completion.js';
import { History } from '../../../web/history.js';

const PEOPLE = ['alice', 'Bob', 'bobby', 'quiet otter', '小明'];

function tabs(value, count = 1, step = 1, caret = value.length) {
  const completion = new Completion();
  const seen = [];
  for (let i = 0; i < count; i += 1) {
    const result = completion.next(value, caret, PEOPLE, step);
    if (!result) return seen;
    ({ value, caret } = result);
    seen.push(value);
  }
  return seen;
}

test('completes commands and their arguments', () => {
  assert.deepEqual(tabs('/jo'), ['/join ']);
  assert.deepEqual(tabs('/lang z'), ['/lang zh']);
  assert.deepEqual(tabs('/msg qu'), ['/msg quiet otter ']);
  assert.deepEqual(tabs('/msg quiet o'), ['/msg quiet otter ']);
  assert.deepEqual(tabs('/msg alice hi bo'), ['/msg alice hi Bob ']);
  assert.deepEqual(tabs('/help cl'), ['/help clear']);
});

test('completes names: with a colon at the start, a space elsewhere', () => {
  assert.deepEqual(tabs('al'), ['alice: ']);
  assert.deepEqual(tabs('thanks @al'), ['thanks @alice ']);
  assert.deepEqual(tabs('小'), ['小明: ']);
});

test('cycles through the candidates in both directions', () => {
  assert.deepEqual(tabs('bo', 3), ['Bob: ', 'bobby: ', 'Bob: ']);
  assert.deepEqual(tabs('bo', 3, -1), ['bobby: ', 'Bob: ', 'bobby: ']);
});

test('keeps the text behind the caret', () => {
  assert.deepEqual(tabs('al see', 1, 1, 2), ['alice:  see']);
});

test('offers nothing for an empty word or an unknown name', () => {
  assert.deepEqual(tabs('hello '), []);
  assert.deepEqual(tabs('zz'), []);
  assert.deepEqual(tabs('/zz'), []);
});

test('history goes up and down and keeps the unfinished line', () => {
  const history = new History();
  for (const line of ['one', 'two', 'two', '  ']) history.add(line);
  assert.equal(history.older('draft'), 'two');
  assert.equal(history.older('two'), 'one');
  assert.equal(history.older('one'), null);
  assert.equal(history.newer(), 'two');
  assert.equal(history.newer(), 'draft');
  assert.equal(history.newer(), null);
});

test('history is bounded', () => {
  const history = new History();
  for (let i = 0; i < 500; i += 1) history.add(`line ${i}`);
  let count = 0;
  while (history.older('') !== null) count += 1;
  assert.equal(count, 200);
});
