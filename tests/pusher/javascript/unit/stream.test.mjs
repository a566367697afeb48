// Which messages of a stream are next, repeated or behind a gap.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stream } from '../../../../web/client/stream.js';

const at = (offset, epoch = 'e') => ({ epoch, offset });

/** A stream that is subscribed with this position. */
function subscribed(position) {
  const stream = new Stream();
  stream.ask();
  stream.position = stream.answer({ position }).position;
  return stream;
}

/** Handles messages; returns the results in short. */
function handle(stream, positions) {
  return positions.map((position) => {
    const { drop, gap } = stream.take(position);
    if (!drop) stream.position = position;
    return drop ? 'drop' : (gap ?? 'next');
  });
}

test('live messages are next, repeated ones are dropped, and each hole is a gap', () => {
  const stream = subscribed(at(4));
  const results = handle(stream, [at(5), at(5), at(4), at(6), at(8), at(9), at(7), at(12)]);
  assert.deepEqual(results, ['next', 'drop', 'drop', 'next', 'hole', 'next', 'drop', 'hole']);
});

test('message of another epoch is behind a gap, whatever its offset', () => {
  const stream = subscribed(at(4));
  assert.deepEqual(handle(stream, [at(5, 'f'), at(6, 'f'), at(1, 'g')]), ['epoch', 'next', 'epoch']);
});

test('first subscription begins at the top, without a gap', () => {
  const stream = new Stream();
  assert.equal(stream.ask(), null);
  assert.deepEqual(handle(stream, [at(3)]), ['drop'], 'of an earlier subscription of the connection');
  assert.deepEqual(stream.answer({ position: at(7) }), { gap: null, position: at(7) });
});

test('recovery hands on what was missed and nothing else, and counts it', () => {
  const stream = subscribed(at(2));
  assert.deepEqual(stream.ask(), at(2));
  assert.deepEqual(handle(stream, [at(2), at(3), at(4)]), ['drop', 'next', 'next']);
  const { gap, recovered } = stream.answer({ position: at(4), recovered: true });
  assert.deepEqual([gap, recovered], [null, 2]);
});

test('recovery that was cut begins where it ended, and counts anew', () => {
  const stream = subscribed(at(2));
  stream.ask();
  handle(stream, [at(3)]);
  assert.deepEqual(stream.ask(), at(3));
  handle(stream, [at(4)]);
  assert.equal(stream.answer({ position: at(4), recovered: true }).recovered, 1);
});

for (const reason of ['epoch', 'trimmed', 'limit', 'ahead', 'unavailable']) {
  test(`recovery that is refused is a gap: ${reason}`, () => {
    const stream = subscribed(at(2));
    stream.ask();
    const answer = stream.answer({ position: at(9, 'f'), recovered: false, reason });
    assert.deepEqual(answer, { gap: reason, position: at(9, 'f') });
  });
}

test('recovery that claims too much is a gap', () => {
  for (const [top, reason] of [[at(5), 'hole'], [at(1), 'ahead'], [at(2, 'f'), 'epoch']]) {
    const stream = subscribed(at(2));
    stream.ask();
    const { gap, recovered, position } = stream.answer({ position: top, recovered: true });
    assert.deepEqual([gap, recovered, position], [reason, undefined, top]);
  }
});

test('gap within a recovery is reported once, and the recovery is none', () => {
  const stream = subscribed(at(2));
  stream.ask();
  assert.deepEqual(handle(stream, [at(4), at(6)]), ['hole', 'next'], 'the second hole is of the same gap');
  const { gap, recovered } = stream.answer({ position: at(6), recovered: true });
  assert.deepEqual([gap, recovered], [null, undefined]);
});

test('reset within a recovery is the same gap as its refusal, each later one is another', () => {
  const stream = subscribed(at(2));
  stream.ask();
  assert.equal(stream.reset('epoch'), 'epoch');
  stream.position = at(0, 'f');
  assert.equal(stream.answer({ position: at(0, 'f'), recovered: false, reason: 'epoch' }).gap, null);
  assert.deepEqual([stream.reset('epoch'), stream.reset('trimmed')], ['epoch', 'trimmed']);
});

test('server without history: a gap after each new connection, none at first', () => {
  const stream = new Stream();
  stream.ask();
  assert.equal(stream.answer({}).gap, null);
  for (let again = 0; again < 2; again += 1) {
    assert.equal(stream.ask(), null);
    assert.equal(stream.answer({}).gap, 'unavailable');
    assert.equal(stream.answer({}).gap, null, 'a second answer on the same connection');
  }
});

test('server that has lost its history: a gap, and the position is forgotten', () => {
  const stream = subscribed(at(2));
  stream.ask();
  assert.deepEqual(stream.answer({}), { gap: 'unavailable', position: null });
});

test('answer to a later subscription of the same connection is behind what was missed between', () => {
  const stream = subscribed(at(2));
  handle(stream, [at(3)]);
  assert.equal(stream.answer({ position: at(3) }).gap, null);
  assert.equal(stream.answer({ position: at(6) }).gap, 'hole');
});

test('second answer at the same position is no gap, also after a recovery', () => {
  const stream = subscribed(at(2));
  stream.ask();
  assert.equal(stream.answer({ position: at(2), recovered: true }).recovered, 0);
  assert.equal(stream.answer({ position: at(2) }).gap, null);
});

test('position of an earlier page is recovered from', () => {
  const stream = new Stream(at(10));
  assert.deepEqual(stream.ask(), at(10));
  assert.deepEqual(handle(stream, [at(11)]), ['next']);
  assert.equal(stream.answer({ position: at(11), recovered: true }).recovered, 1);
});
