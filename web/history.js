// Command history: the lines entered before, walked with up and down as in a shell.

const LIMIT = 200;

/** Lines from oldest to newest; the unfinished line is kept while walking. */
export class History {
  #lines = [];
  #at = 0;
  #draft = '';

  /** Adds an entered line (not twice in a row) and goes back to the end. */
  add(line) {
    if (line.trim() !== '' && line !== this.#lines.at(-1)) this.#lines.push(line);
    if (this.#lines.length > LIMIT) this.#lines.shift();
    this.#at = this.#lines.length;
    this.#draft = '';
  }

  /** The line before, or null at the oldest. `current` is what stands in the prompt now. */
  older(current) {
    if (this.#at === 0) return null;
    if (this.#at === this.#lines.length) this.#draft = current;
    this.#at -= 1;
    return this.#lines[this.#at];
  }

  /** The line after, the draft at the end, or null when already there. */
  newer() {
    if (this.#at === this.#lines.length) return null;
    this.#at += 1;
    return this.#lines[this.#at] ?? this.#draft;
  }
}
