// The WebSocket's life: opens it, opens it again after a loss with full jitter, and notices a dead one.

const BACKOFF_BASE_MS = 1_000;
const BACKOFF_CAP_MS = 30_000;
const RETRY_AFTER_CAP_MS = 60_000;
const OPEN_WITHIN_MS = 10_000;

/**
 * How long to wait before attempt `attempt` (from 0): anywhere between nothing and a bound that
 * doubles, so that the thousands who lost one gateway do not come back in step.
 */
export function backoff(attempt, random = Math.random) {
  return Math.round(random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt));
}

/**
 * When the server asks to be called again, in milliseconds: it closes with a reason such as
 * `retry-after=2.4`, in seconds, another one for each client. `null` if it does not say.
 */
export function retryAfter(reason) {
  const seconds = /(?:^|[\s;])retry-after=(\d+(?:\.\d+)?)(?:$|[\s;])/.exec(reason ?? '')?.[1];
  return seconds === undefined ? null : Math.min(RETRY_AFTER_CAP_MS, Math.round(seconds * 1_000));
}

/**
 * One connection that wants to be open. Its states, told to `onState`:
 *
 * - `{ name: 'idle' }`: never started
 * - `{ name: 'connecting' }`: opening, or open and not yet accepted by the server
 * - `{ name: 'online' }`: accepted
 * - `{ name: 'waiting', at }`: lost; the next attempt is at that time (milliseconds, as Date.now)
 * - `{ name: 'closed' }`: stopped on purpose
 *
 * `onOpen` says that the socket is open, `onFrame(text)` that something came, `onLost({ code, was })`
 * that the socket is gone though it is wanted.
 */
export class Connection {
  #url;
  #on;
  #openSocket;
  #state = { name: 'idle' };
  #socket = null;
  #attempt = 0;
  #retry = 0;
  #deadline = 0;
  #heardAt = 0;

  constructor(url, handlers, openSocket = (to) => new WebSocket(to)) {
    this.#url = url;
    this.#on = handlers;
    this.#openSocket = openSocket;
  }

  get state() {
    return this.#state;
  }

  /** For how long nothing has come, in milliseconds. */
  get silentFor() {
    return Date.now() - this.#heardAt;
  }

  /** Opens now, whatever was waited for; nothing happens while it is open or opening. */
  start() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#become({ name: 'connecting' });
    const socket = this.#openSocket(this.#url);
    this.#socket = socket;
    const current = (handle) => (event) => this.#socket === socket && handle(event);
    socket.addEventListener('open', current(() => this.#opened()));
    socket.addEventListener('message', current(({ data }) => this.#received(data)));
    socket.addEventListener('close', current(({ code, reason }) => this.#lost(code, reason)));
    this.#expectWithin(OPEN_WITHIN_MS);
  }

  /** Opens now if the next attempt is being waited for. */
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

  /** The server has accepted us: online, and the next loss begins with short waits again. */
  accept() {
    this.#attempt = 0;
    this.#become({ name: 'online' });
  }

  /** Sends, if the socket is open; answers whether it did. */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  /** Asks, and gives the connection up for dead when nothing at all comes within the time. */
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
    this.#drop(1000);
    const wait = retryAfter(reason) ?? backoff(this.#attempt);
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.start(), wait);
    this.#become({ name: 'waiting', at: Date.now() + wait });
    this.#on.onLost({ code, was });
  }

  /** Lets go of the socket; nothing it says afterwards is heard. */
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
