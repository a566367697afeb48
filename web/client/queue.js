// Client events that wait for their channel: bounded, in order, and sent no faster than is accepted.

const POLICIES = ['refuse', 'drop-oldest', 'off'];

/**
 * At most `limit` events with `maxLength` characters together wait. A further one is refused
 * (`refuse`), or replaces the oldest (`drop-oldest`); with `off` none waits. `send(item)` returns
 * whether the item was sent, `isReady(channel)` whether its events may be.
 */
export class SendQueue {
  #items = [];
  #length = 0;
  #timer = null;
  #bounds;
  #isReady;
  #send;

  constructor({ limit = 100, maxLength = 65_536, policy = 'refuse', perSecond = 5 } = {}, { isReady, send }) {
    if (!POLICIES.includes(policy)) throw new RangeError(`sendQueue.policy is none of ${POLICIES.join(', ')}`);
    this.#bounds = { limit: policy === 'off' ? 0 : limit, maxLength, policy, pause: 1_000 / perSecond };
    this.#isReady = isReady;
    this.#send = send;
  }

  /** The number of events that wait. */
  get size() {
    return this.#items.length;
  }

  /** Sends an event, or lets it wait; returns false if it was refused. */
  offer(channel, text) {
    const waits = this.#items.some((item) => item.channel === channel);
    if (!waits && this.#isReady(channel) && this.#send(text)) return true;
    const { limit, maxLength, policy } = this.#bounds;
    const fits = () => this.#items.length < limit && this.#length + text.length <= maxLength;
    while (policy === 'drop-oldest' && !fits() && this.#items.length > 0) this.#remove(0);
    if (!fits()) return false;
    this.#items.push({ channel, text });
    this.#length += text.length;
    this.release();
    return true;
  }

  /** Begins to send what waits for channels that are ready. */
  release() {
    if (this.#timer !== null) return;
    const at = this.#items.findIndex(({ channel }) => this.#isReady(channel));
    if (at < 0) return;
    if (this.#send(this.#items[at].text)) this.#remove(at);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.release();
    }, this.#bounds.pause);
  }

  /** Removes the events of a channel, or all. */
  clear(channel) {
    this.#items = channel === undefined ? [] : this.#items.filter((item) => item.channel !== channel);
    this.#length = this.#items.reduce((sum, { text }) => sum + text.length, 0);
  }

  #remove(at) {
    const [{ text }] = this.#items.splice(at, 1);
    this.#length -= text.length;
  }
}
