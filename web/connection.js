// The WebSocket: opens it, reconnects with full jitter, and detects a dead connection.

const BACKOFF_BASE_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;
const RETRY_AFTER_CAP_MS = 60_000;
const OPEN_WITHIN_MS = 10_000;

/**
 * The delay before attempt `attempt` (from 0): uniform between 0 and a bound that doubles, so that the
 * clients of a lost gateway do not reconnect in lockstep.
 */
export function backoff(attempt, random = Math.random) {
  return Math.round(random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt));
}

/**
 * The reconnect delay that the server requests, in milliseconds. Its close reason is, for example,
 * `retry-after=2.4`, in seconds, with a different value for each client. `null` if there is none.
 */
export function retryAfter(reason) {
  const seconds = /(?:^|[\s;])retry-after=(\d+(?:\.\d+)?)(?:$|[\s;])/.exec(reason ?? '')?.[1];
  return seconds === undefined ? null : Math.min(RETRY_AFTER_CAP_MS, Math.round(seconds * 1_000));
}

/** Codes after which the same client would only be closed again, or is not to come back. */
const FINAL_CODES = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const FIRST_OF_APPLICATIONS = 3000;

/** Whether a closed client reconnects by itself (docs/close-codes.md). */
export function comesBack(code, reason) {
  if (retryAfter(reason) !== null) return true;
  return !FINAL_CODES.includes(code) && code < FIRST_OF_APPLICATIONS;
}

/**
 * A connection that reconnects until it is stopped, or closed for good by the server. Its states,
 * passed to `onState`:
 *
 * - `{ name: 'idle' }`: never started
 * - `{ name: 'connecting' }`: opening, or open and not yet accepted by the server
 * - `{ name: 'online' }`: accepted
 * - `{ name: 'waiting', at }`: lost; `at` is the time of the next attempt (milliseconds, as Date.now)
 * - `{ name: 'closed' }`: stopped by the user, or closed by the server with a code that is final
 *
 * It has one URL or several, of gateways that serve the same cluster. After a loss or a failed attempt
 * it goes on to the next.
 *
 * `onOpen` is called when the socket is open, `onFrame(text)` for each frame, and
 * `onLost({ code, was })` when the socket was closed unexpectedly and is opened again, and
 * `onClosed({ code, reason })` when the server has closed it for good.
 */
export class Connection {
  #urls;
  #at = 0;
  #on;
  #openSocket;
  #state = { name: 'idle' };
  #socket = null;
  #attempt = 0;
  #retry = 0;
  #deadline = 0;
  #heardAt = 0;

  constructor(urls, handlers, openSocket = (to) => new WebSocket(to)) {
    this.#urls = [urls].flat();
    this.#on = handlers;
    this.#openSocket = openSocket;
  }

  get state() {
    return this.#state;
  }

  /** The time since the last frame, in milliseconds. */
  get silentFor() {
    return Date.now() - this.#heardAt;
  }

  /** Opens immediately; does nothing while the socket is open or opening. */
  start() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#become({ name: 'connecting' });
    const socket = this.#openSocket(this.#urls[this.#at]);
    this.#socket = socket;
    const current = (handle) => (event) => this.#socket === socket && handle(event);
    socket.addEventListener('open', current(() => this.#opened()));
    socket.addEventListener('message', current(({ data }) => this.#received(data)));
    socket.addEventListener('close', current(({ code, reason }) => this.#lost(code, reason)));
    this.#expectWithin(OPEN_WITHIN_MS);
  }

  /** Opens immediately if an attempt is scheduled. */
  hurry() {
    if (this.#state.name === 'waiting') this.start();
  }

  /** Closes and stays closed until `start`. */
  stop() {
    clearTimeout(this.#retry);
    this.#drop(1000);
    this.#attempt = 0;
    this.#become({ name: 'closed' });
  }

  /** The server has accepted the login: sets the state to online and resets the backoff. */
  accept() {
    this.#attempt = 0;
    this.#become({ name: 'online' });
  }

  /** Sends if the socket is open; returns whether it did. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  /** Sends a probe, and declares the connection dead if no frame arrives within the time. */
  sendExpecting(frame, withinMs) {
    const sent = this.send(frame);
    if (sent && !this.#deadline) this.#expectWithin(withinMs);
    return sent;
  }

  #opened() {
    this.#expectNothing();
    this.#on.onOpen();
  }

  #received(data) {
    this.#heardAt = Date.now();
    this.#expectNothing();
    this.#on.onFrame(data);
  }

  #lost(code, reason) {
    const was = this.#state.name;
    if (!comesBack(code, reason)) {
      this.stop();
      this.#on.onClosed({ code, reason });
      return;
    }
    this.#drop(1000);
    this.#at = (this.#at + 1) % this.#urls.length;
    const wait = retryAfter(reason) ?? backoff(this.#attempt);
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.start(), wait);
    this.#become({ name: 'waiting', at: Date.now() + wait });
    this.#on.onLost({ code, was });
  }

  /** Detaches the socket; its later events are ignored. */
  #drop(code) {
    this.#expectNothing();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
  }

  #expectWithin(ms) {
    this.#deadline = setTimeout(() => this.#lost(1006), ms);
  }

  #expectNothing() {
    clearTimeout(this.#deadline);
    this.#deadline = 0;
  }

  #become(state) {
    this.#state = state;
    this.#on.onState(state);
  }
}
