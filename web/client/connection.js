// The WebSocket: opens it, finds out that it is dead, and opens it again as the server allows.

import { backoff, reaction, unhurried } from './codes.js';
import { Emitter } from './emitter.js';
import { read, write } from './frame.js';
import { isHidden, isOffline, watch } from './surroundings.js';

const LOST = 1006;
const NORMAL = 1000;
const OPEN = 1;
/** Failures count on until a connection has lasted so long, in milliseconds. */
const STABLE_MS = 5_000;
/** A timer that is so late belongs to a device that was asleep. */
const ASLEEP_MS = 5_000;
/** The time for an answer on a connection that has probably ended. */
const DOUBTFUL_MS = 5_000;
/** The most that waits in the socket itself, in bytes. */
const CONGESTED = 1_048_576;

/**
 * A connection with the events of pusher-js: `state_change`, each state, `error`, `message` (each
 * frame) and `connecting_in` (seconds). Its states:
 *
 * - `initialized`: before `connect`
 * - `connecting`: the token is requested, the socket opens, or the server has not accepted it yet
 * - `connected`
 * - `unavailable`: lost, with a next attempt
 * - `disconnected`: by `disconnect`, or by the server for good
 * - `failed`: no WebSocket can be made here
 */
export class Connection extends Emitter {
  state = 'initialized';
  socket_id;
  #options;
  // The number of the server in the list.
  #at = 0;
  #socket = null;
  // Everything of an earlier run is ignored.
  #run = 0;
  // Attempts since a connection lasted.
  #attempt = 0;
  #timer = 0;
  #due = 0;
  #notBefore = 0;
  #connectedAt = 0;
  #heardAt = 0;
  #silence = 0;
  #isAsked = false;
  #hasExpired = false;
  #unwatch = null;

  /**
   * Options: `urls`, `WebSocket`, `token`, `subprotocol`, and in milliseconds `activityTimeout`,
   * `pongTimeout`, `openTimeout`; `onConnected()`, `onLost()` and `onFrame(frame)`.
   */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** Opens; if an attempt is planned, makes it now unless the server has named a time. */
  connect() {
    if (this.#unwatch) return this.#hurry();
    this.#unwatch = watch({ offline: () => this.#doubt(), back: () => this.#back() });
    this.#attempt = 0;
    this.#open();
  }

  /** Closes, and stays so until `connect`. */
  disconnect() {
    this.#end('disconnected');
  }

  /** Sends a frame; returns whether that was possible. */
  send(event, data, channel) {
    return this.state === 'connected' && this.write(write(event, data, channel));
  }

  /** Sends a text; returns whether that was possible. */
  write(text) {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN) return false;
    socket.send(text);
    return true;
  }

  /** The same, unless the socket has much to send already. */
  writeIfFree(text) {
    return !(this.#socket?.bufferedAmount > CONGESTED) && this.write(text);
  }

  async #open() {
    const { openTimeout, WebSocket, token } = this.#options;
    const run = ++this.#run;
    const isCurrent = () => run === this.#run;
    this.#arm(openTimeout, () => this.#lost(LOST, 'not connected in time'));
    this.#become('connecting');
    let given;
    try {
      if (token && isCurrent()) given = await token({ expired: this.#hasExpired });
    } catch (error) {
      if (!isCurrent()) return;
      this.#lost(LOST, `no token: ${error?.message ?? error}`);
      return;
    }
    if (!isCurrent()) return;
    try {
      this.#socket = new WebSocket(...this.#target(given));
    } catch (error) {
      this.#end('failed');
      this.emit('error', { type: 'WebSocketError', error });
      return;
    }
    this.#attend(this.#socket, isCurrent);
  }

  #attend(socket, isCurrent) {
    let isOpen = false;
    socket.onopen = () => (isOpen = true);
    socket.onmessage = ({ data }) => isCurrent() && this.#received(data);
    socket.onclose = ({ code, reason }) => isCurrent() && this.#lost(code, reason);
    // Node reports a failed handshake by this event alone.
    socket.onerror = () => isOpen || !isCurrent() || this.#lost(LOST);
  }

  /** The arguments for the next WebSocket. */
  #target(token) {
    const { urls, subprotocol } = this.#options;
    const url = new URL(urls[this.#at % urls.length]);
    const protocols = subprotocol ? [subprotocol] : [];
    if (token && subprotocol) protocols.push(`gw.auth.${token}`);
    else if (token) url.searchParams.set('token', token);
    return [url.href, protocols];
  }

  #received(text) {
    const frame = read(text);
    if (!frame) return;
    this.#heardAt = Date.now();
    this.#isAsked = false;
    const { event, data } = frame;
    if (event === 'pusher:connection_established') this.#established(data);
    else if (event === 'pusher:ping') this.write(write('pusher:pong', {}));
    else if (event === 'pusher:error') this.#erred(data);
    else if (event === 'pusher_internal:token_expiring') this.#renew();
    this.emit('message', frame);
    this.#options.onFrame(frame);
  }

  #established(data) {
    if (this.state === 'connected' || typeof data?.socket_id !== 'string') return;
    const { activityTimeout } = this.#options;
    this.socket_id = data.socket_id;
    this.#silence = Math.min(activityTimeout, data.activity_timeout * 1_000 || activityTimeout);
    this.#connectedAt = Date.now();
    this.#notBefore = 0;
    this.#listen();
    this.#become('connected', { socket_id: data.socket_id });
    if (this.state === 'connected') this.#options.onConnected();
  }

  #erred(data) {
    const { code = null, message = '' } = data ?? {};
    const isRefusal = this.state !== 'connected' && code >= 4000 && code < 4300;
    if (isRefusal) this.#lost(code, message);
    else this.emit('error', { type: 'PusherError', data: { code, message } });
  }

  async #renew() {
    const run = this.#run;
    try {
      const token = await this.#options.token?.({ expired: false });
      if (token && run === this.#run) this.send('pusher:token', { token });
    } catch (error) {
      this.emit('error', { type: 'TokenError', error });
    }
  }

  /** Goes on to the next attempt, or ends. */
  #lost(code, reason = '') {
    const now = Date.now();
    if (this.state === 'connected' && now - this.#connectedAt >= STABLE_MS) this.#attempt = 0;
    const next = reaction(code, reason);
    const error = { type: 'PusherError', data: { code, message: reason } };
    if (next.stop || (next.renew && !this.#options.token)) {
      this.#end('disconnected');
      this.emit('error', error);
      return;
    }
    this.#drop();
    this.#at += 1;
    this.#attempt += 1;
    this.#hasExpired = next.renew ?? false;
    const atOnce = (next.now || next.renew) && this.#attempt === 1;
    let wait = next.at ?? (atOnce ? 0 : (next.least ?? 0) + backoff(this.#attempt));
    if (next.at === undefined && (isOffline() || isHidden())) wait = Math.max(wait, unhurried());
    this.#notBefore = now + (next.at ?? next.least ?? 0);
    this.#arm(wait, () => this.#open());
    this.#become('unavailable');
    this.emit('connecting_in', Math.round(wait / 1_000));
    this.emit('error', error);
  }

  #hurry() {
    if (this.state === 'unavailable') this.#arm(Math.max(0, this.#notBefore - Date.now()), () => this.#open());
  }

  /** The network is back, or the page is shown again. */
  #back() {
    this.#hurry();
    if (Date.now() - this.#heardAt > DOUBTFUL_MS) this.#doubt();
  }

  #doubt() {
    if (this.state === 'connected') this.#ask(DOUBTFUL_MS);
  }

  /** Asks once the server has been silent for too long. */
  #listen() {
    const isLate = Date.now() - this.#due > ASLEEP_MS;
    const rest = this.#heardAt + this.#silence - Date.now();
    if (rest > 0) this.#arm(Math.min(rest, this.#silence), () => this.#listen());
    else this.#ask(isLate ? DOUBTFUL_MS : this.#options.pongTimeout);
  }

  #ask(within) {
    this.#isAsked = true;
    this.write(write('pusher:ping', {}));
    this.#arm(within, () => (this.#isAsked ? this.#lost(LOST, 'no answer to a ping') : this.#listen()));
  }

  /** There is one timer: of the opening, of silence, or of the next attempt. */
  #arm(wait, then) {
    clearTimeout(this.#timer);
    this.#due = Date.now() + wait;
    this.#timer = setTimeout(then, wait);
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#run += 1;
    const socket = this.#socket;
    this.#socket = null;
    this.socket_id = undefined;
    socket?.close(NORMAL);
    this.#options.onLost();
  }

  #end(state) {
    this.#unwatch?.();
    this.#unwatch = null;
    this.#drop();
    this.#become(state);
  }

  #become(state, data) {
    const previous = this.state;
    if (state === previous) return;
    this.state = state;
    this.emit('state_change', { previous, current: state });
    this.emit(state, data);
  }
}
