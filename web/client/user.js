// The user as whom the connection is signed in: again on each connection.

import { proof } from './authorize.js';
import { Emitter } from './emitter.js';

/**
 * Its client has `socketId()`, `send(event, data)`, `authenticate(request)`,
 * `subscribe(name)`, `unsubscribe(name)` and `fail(error)`.
 */
export class User extends Emitter {
  user_data = null;
  serverToUserChannel = null;
  watchlist = new Emitter();
  #client;
  #requested = false;
  #attempt = 0;
  #done;

  constructor(client) {
    super();
    this.#client = client;
    this.#begin();
  }

  /** Resolves when the connection is signed in. */
  get signinDonePromise() {
    return this.#done.promise;
  }

  signin() {
    if (this.#requested) return;
    this.#requested = true;
    this.connected();
  }

  /** A connection is established. */
  async connected() {
    const socketId = this.#client.socketId();
    if (!this.#requested || !socketId) return;
    const attempt = ++this.#attempt;
    const request = () => this.#client.authenticate({ socketId });
    const given = await proof(request, () => attempt === this.#attempt, (error) => this.#client.fail(error));
    if (given) this.#client.send('pusher:signin', { auth: given.auth, user_data: given.user_data });
  }

  /** The connection is lost. */
  lose() {
    this.#attempt += 1;
    if (this.#done.isResolved) this.#begin();
  }

  receive({ event, data }) {
    if (event === 'pusher:signin_success') this.#succeed(data);
    else if (event === 'pusher_internal:watchlist_events') {
      for (const each of data?.events ?? []) this.watchlist.emit(each.name, each);
    }
  }

  #succeed(data) {
    const before = this.user_data?.id;
    try {
      this.user_data = JSON.parse(data.user_data);
    } catch {
      this.#client.fail(new Error('the data of the user is no JSON'));
      return;
    }
    const { id } = this.user_data;
    if (before !== undefined && before !== id) this.#client.unsubscribe(`#server-to-user-${before}`);
    const channel = this.#client.subscribe(`#server-to-user-${id}`);
    if (channel !== this.serverToUserChannel) {
      const isOwn = (event) => !event.startsWith('pusher:');
      channel.bind_global((event, ...rest) => isOwn(event) && this.emit(event, ...rest));
      this.serverToUserChannel = channel;
    }
    this.#done.isResolved = true;
    this.#done.resolve();
  }

  #begin() {
    const done = { isResolved: false };
    done.promise = new Promise((resolve) => (done.resolve = resolve));
    this.#done = done;
  }
}
