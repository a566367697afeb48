// Positions that outlive the page, in a storage of the browser.

import { readPosition } from './frame.js';

/**
 * Keeps the position of each channel in a storage such as `sessionStorage`. If the storage is full or
 * forbidden, nothing is kept.
 */
export class StoredPositions {
  #storage;
  #prefix;

  constructor(storage, prefix = 'push-suite.position.') {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  /** The position of a channel, or null. */
  get(channel) {
    try {
      return readPosition(JSON.parse(this.#storage.getItem(this.#prefix + channel)));
    } catch {
      return null;
    }
  }

  /** Keeps a position; null removes it. */
  set(channel, position) {
    const key = this.#prefix + channel;
    try {
      if (position) this.#storage.setItem(key, JSON.stringify(position));
      else this.#storage.removeItem(key);
    } catch {
      // Recovery begins where the last position was kept.
    }
  }
}
