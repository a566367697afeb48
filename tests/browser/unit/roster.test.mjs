// Resolves a typed name to a user.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Roster } from '../../../web/roster.js';

function roster(people) {
  const made = new Roster();
  made.replace(Object.entries(people));
  return made;
}

const ids = (found) => found.map(({ id }) => id);

test('finds a name in any case, and returns the rest as text', () => {
  const { found, rest } = roster({ a1: 'alice', b2: 'Bob' }).address('bob hello there');
  assert.deepEqual(ids(found), ['b2']);
  assert.equal(rest, 'hello there');
});

test('an exact match takes precedence over one in another case', () => {
  assert.deepEqual(ids(roster({ a1: 'bob', b2: 'Bob' }).address('Bob hi').found), ['b2']);
});

test('the longest name wins, so names with spaces need no quotes', () => {
  const people = roster({ a1: 'quiet', b2: 'quiet otter' });
  assert.deepEqual(ids(people.address('quiet otter hi').found), ['b2']);
  assert.deepEqual(ids(people.address('quiet hi').found), ['a1']);
});

test('equal names are distinguished by the end of their ids', () => {
  const people = roster({ '7f00000100aa1': 'bob', '7f00000100ba1': 'bob', c3: 'eve' });
  assert.equal(people.address('bob hi').found.length, 2);
  assert.deepEqual(people.handles().map(({ handle }) => handle), ['bob#aa1', 'bob#ba1', 'eve']);
  const { found, rest } = people.address('bob#ba1 hi');
  assert.deepEqual(ids(found), ['7f00000100ba1']);
  assert.equal(rest, 'hi');
});

test('names that differ in case or width only are distinguished too', () => {
  const people = roster({ '7f00000100aa1': 'Admin', '7f00000100ba1': 'ａdmin', c3: 'eve' });
  assert.deepEqual(people.handles().map(({ handle }) => handle), ['Admin#aa1', 'ａdmin#ba1', 'eve']);
});

test('a client that has left is distinguished from those of its name', () => {
  const people = roster({ '7f00000100aa1': 'bob' });
  assert.equal(people.handleAs('7f00000100ba1', 'bob'), 'bob#ba1');
  assert.equal(people.handleAs('7f00000100ba1', 'eve'), 'eve');
});

test('an unknown name matches no user, and the rest is separate', () => {
  const { found, typed, rest } = roster({ a1: 'alice' }).address('mallory hi  there');
  assert.deepEqual(found, []);
  assert.deepEqual([typed, rest], ['mallory', 'hi  there']);
});

test('tracks logins, logouts and renames', () => {
  const people = roster({ a1: 'alice' });
  people.add('b2', 'bob');
  people.add('a1', 'alicia');
  people.remove('b2');
  people.remove('nobody');
  assert.deepEqual(people.people(), [{ id: 'a1', name: 'alicia' }]);
});

test('names of object properties are ordinary names', () => {
  const people = roster({ a1: '__proto__', b2: 'constructor' });
  assert.deepEqual(ids(people.address('__proto__ hi').found), ['a1']);
  assert.deepEqual(people.address('toString hi').found, []);
});
