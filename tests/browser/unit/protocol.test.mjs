// Frames from the server, valid and hostile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { read, write } from '../../../web/protocol.js';

const frame = (fields) => read(JSON.stringify(fields));

test('an unknown message parses to null', () => {
  const strange = ['', '{', 'null', '[]', '"say"', '7', '{}', '{"type":"constructor"}', '{"type":{}}'];
  for (const text of strange) assert.equal(read(text), null, text);
  assert.equal(read(new ArrayBuffer(4)), null);
});

test('a login with a list is our own, without one that of another user', () => {
  const fields = { type: 'login', client_id: 'a1', client_name: 'A&amp;B', room_id: 7, time: 't' };
  assert.deepEqual(frame(fields), { type: 'joined', id: 'a1', name: 'A&B', time: 't' });
  assert.deepEqual(frame({ ...fields, client_list: { a1: 'A&amp;B', b2: '&lt;i&gt;' } }), {
    type: 'welcome',
    id: 'a1',
    name: 'A&B',
    time: 't',
    room: '7',
    people: [['a1', 'A&B'], ['b2', '<i>']],
  });
});

test('the prefix of a private text is removed, for recipient and sender', () => {
  const fields = { type: 'say', from_client_id: 'a', from_client_name: 'A', to_client_id: 'b' };
  const received = frame({ ...fields, content: '<b>对你说: </b>a &lt; b' });
  assert.equal(received.type, 'whisper');
  assert.equal(received.text, 'a < b');
  const sent = frame({ ...fields, content: '<b>你对B &amp; &lt;说: &gt;说: </b>hi' });
  assert.equal(sent.type, 'whisper-sent');
  assert.deepEqual(sent.to, { id: 'b', name: 'B & <说: >' });
  assert.equal(sent.text, 'hi');
});

test('a public text cannot be disguised as a private one', () => {
  const fields = { type: 'say', from_client_id: 'a', from_client_name: 'A', to_client_id: 'all' };
  const said = frame({ ...fields, content: '<b>对你说: </b>x' });
  assert.equal(said.type, 'said');
  assert.equal(said.text, '<b>对你说: </b>x');
});

test('fields of the wrong type become harmless', () => {
  const said = frame({ type: 'say', from_client_id: {}, from_client_name: [], to_client_id: 'all', content: null });
  assert.deepEqual(said, { type: 'said', from: { id: '', name: '?' }, time: '', text: '' });
  assert.deepEqual(frame({ type: 'who', client_list: [1] }), { type: 'who', room: null, people: [] });
  assert.equal(frame({ type: 'error', code: 'x', limit: '9' }).limit, null);
});

test('writes messages in the format of the server', () => {
  assert.deepEqual(JSON.parse(write.login('a', 'r')), { type: 'login', client_name: 'a', room_id: 'r' });
  assert.deepEqual(JSON.parse(write.say('hi')), { type: 'say', to_client_id: 'all', to_client_name: '', content: 'hi' });
  assert.equal(JSON.parse(write.whisper({ id: 'b', name: 'B' }, 'x')).to_client_id, 'b');
});
