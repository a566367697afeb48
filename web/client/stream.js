// The place of a client in a channel's stream: which message is next, repeated, or behind a gap.

const UNAVAILABLE = 'unavailable';

export class Stream {
  /** `{ epoch, offset }` of the last message that was handled, or null. */
  position;
  // Of the latest subscription: whether it stated a position, and was answered.
  #asked = false;
  #answered = false;
  // Whether an earlier one was answered.
  #again = false;
  #count = 0;
  #gap = false;

  constructor(position = null) {
    this.position = position;
  }

  /** Begins a subscription. Returns the position that it states, or null. */
  ask() {
    this.#again ||= this.#answered;
    this.#answered = false;
    this.#asked = this.position !== null;
    this.#count = 0;
    this.#gap = false;
    return this.position;
  }

  /**
   * Judges a message at a position: `{ drop: true }` for one that was handled before, or belongs to an
   * earlier subscription; else `{ gap }` with the reason why messages before it are missing, or null.
   */
  take({ epoch, offset }) {
    if (!this.#answered && !this.#asked) return { drop: true };
    const at = this.position;
    const same = at?.epoch === epoch;
    if (same && offset <= at.offset) return { drop: true };
    if (!this.#answered) this.#count += 1;
    if (!at || (same && offset === at.offset + 1)) return { gap: null };
    const gap = same ? 'hole' : 'epoch';
    return { gap: this.#answered ? gap : this.#once(gap) };
  }

  /**
   * The answer to a subscription. Returns `{ gap }`, the reason why messages are missing or null;
   * `{ recovered }`, the number of messages, if every missed one has arrived; and the `position` that
   * counts from then on.
   */
  answer({ position, recovered, reason }) {
    const [at, asked, again] = [this.position, this.#asked, this.#again];
    this.#answered = true;
    this.#asked = false;
    this.#again = false;
    if (!asked) {
      // A second answer, of a subscription that was ended meanwhile, may follow messages of this one.
      const behind = at && position && missing(at, position);
      const gap = behind || (again ? UNAVAILABLE : null);
      return { gap: gap && this.#once(gap), position: position ?? at };
    }
    if (recovered !== true) {
      return { gap: this.#once((recovered === false && reason) || UNAVAILABLE), position: position ?? null };
    }
    const gap = position && missing(at, position);
    if (gap) return { gap: this.#once(gap), position };
    return { gap: null, recovered: this.#gap ? undefined : this.#count, position: position ?? at };
  }

  /** The stream begins anew. Returns the reason to report, or null. */
  reset(reason) {
    return this.#answered ? reason : this.#once(reason);
  }

  /** Of one subscription, a gap is reported once, however it shows. */
  #once(reason) {
    if (this.#gap) return null;
    this.#gap = true;
    return reason;
  }
}

/** The reason why a client at a position misses messages up to the top of its stream, or null. */
function missing(at, top) {
  if (at.epoch !== top.epoch) return 'epoch';
  if (at.offset === top.offset) return null;
  return at.offset < top.offset ? 'hole' : 'ahead';
}
