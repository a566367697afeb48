// A subscription, which is made again on each connection, and recovers what was missed meanwhile.

import { AuthError, proof } from './authorize.js';
import { Emitter } from './emitter.js';
import { Members } from './members.js';
import { Stream } from './stream.js';

const INTERNAL = 'pusher_internal:';

/**
 * Its client has `socketId()`, `userId()`, `send(event, data)`, `trigger(name, event, data)`,
 * `authorize(request)`, `onGap(name, reason)`, `onRecovered(name, count)`, `onSubscribed(name)` and
 * `keep(channel, position)`.
 */
export class Channel extends Emitter {
  subscribed = false;
  subscription_pending = false;
  subscription_count = 0;
  #stream;
  #attempt = 0;

  constructor(name, client, position) {
    super();
    this.name = name;
    this.client = client;
    this.#stream = new Stream(position);
  }

  /** `{ epoch, offset }` of the last message that was handled, or null. */
  get position() {
    return this.#stream.position;
  }

  /** Sends a client event; returns false if it was refused. */
  trigger(event, data) {
    if (!event.startsWith('client-')) throw new Error(`the name of a client event begins with client-: ${event}`);
    return this.client.trigger(this.name, event, data);
  }

  /** Subscribes, unless that is done or under way. */
  async subscribe() {
    const socketId = this.client.socketId();
    if (!socketId || this.subscribed || this.subscription_pending) return;
    this.subscription_pending = true;
    const attempt = ++this.#attempt;
    const isNeeded = () => attempt === this.#attempt;
    const given = this.isPublic ? {} : await this.#proof(socketId, isNeeded);
    if (!isNeeded()) return;
    if (!given) {
      this.subscription_pending = false;
      return;
    }
    const position = this.#stream.ask() ?? undefined;
    const { auth, channel_data } = given;
    this.client.send('pusher:subscribe', { channel: this.name, auth, channel_data, position });
  }

  get isPublic() {
    return !/^(private|presence)-/.test(this.name);
  }

  #proof(socketId, isNeeded) {
    const request = async () => {
      const given = await this.client.authorize({ socketId, channelName: this.name });
      this.accept(given);
      return given;
    };
    return proof(request, isNeeded, ({ type, message, status }) =>
      this.emit('pusher:subscription_error', { type, error: message, status }),
    );
  }

  /** The connection is lost, or the channel is left. */
  lose() {
    this.#attempt += 1;
    this.subscribed = false;
    this.subscription_pending = false;
  }

  /** Takes a frame; `also` is called for its event, unless it is a repeated one. */
  receive(frame, also) {
    const { event, data, metadata, position } = frame;
    if (event.startsWith(INTERNAL)) {
      this.internal(event.slice(INTERNAL.length), data, frame);
      return;
    }
    if (event === 'pusher:subscription_error') this.lose();
    const { drop, gap } = position ? this.#stream.take(position) : {};
    if (drop) return;
    if (gap) this.client.onGap(this.name, gap);
    this.emit(event, data, metadata);
    also();
    // Only now: a page that ends before it has handled the message gets it again.
    if (position) this.#store(position);
  }

  internal(name, data, frame) {
    if (name === 'subscription_succeeded') this.#succeed(data, frame);
    else if (name === 'stream_reset') this.#reset(frame);
    else if (name === 'subscription_count') {
      this.subscription_count = data?.subscription_count ?? 0;
      this.emit('pusher:subscription_count', data);
    }
  }

  #succeed(data, frame) {
    const { gap, recovered, position } = this.#stream.answer(frame);
    this.subscription_pending = false;
    this.subscribed = true;
    this.emit('pusher:subscription_succeeded', this.succeeded(data));
    if (gap) this.client.onGap(this.name, gap);
    if (recovered !== undefined) this.client.onRecovered(this.name, recovered);
    this.#store(position ?? null);
    this.client.onSubscribed(this.name);
  }

  #reset({ position, reason = 'epoch' }) {
    const gap = this.#stream.reset(reason);
    if (gap) this.client.onGap(this.name, gap);
    this.#store(position);
  }

  #store(position) {
    const at = this.#stream.position;
    if (at?.epoch === position?.epoch && at?.offset === position?.offset) return;
    this.#stream.position = position;
    this.client.keep(this, position);
  }

  /** Takes the proof with which the channel subscribes; throws if it is none. */
  accept(given) {
    if (typeof given?.auth !== 'string') throw new AuthError('the answer has no auth', 200);
  }

  /** The data of `pusher:subscription_succeeded`. */
  succeeded(data) {
    return data;
  }
}

export class PresenceChannel extends Channel {
  members = new Members();
  #myId = null;

  accept(given) {
    super.accept(given);
    const { channel_data } = given;
    const id = channel_data === undefined ? this.client.userId() : userIdOf(channel_data);
    this.#myId = id === null ? null : String(id);
  }

  succeeded(data) {
    this.members.reset(data, this.#myId);
    return this.members;
  }

  internal(name, data, frame) {
    if (name === 'member_added') this.emit('pusher:member_added', this.members.add(data));
    else if (name === 'member_removed') {
      const member = this.members.remove(data);
      if (member) this.emit('pusher:member_removed', member);
    } else super.internal(name, data, frame);
  }
}

function userIdOf(channelData) {
  try {
    return JSON.parse(channelData).user_id;
  } catch {
    throw new AuthError('channel_data is no JSON', 200);
  }
}
