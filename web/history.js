// Command history: previous lines, navigated with up and down as in a shell.

const LIMIT = 200;

/** Lines from oldest to newest; keeps the unfinished line during navigation. */
export class History {
  #lines = [];
  #at = 0;
  #draft = '';

  /** Adds an entered line, unless it repeats the last one, and moves to the end. */
  add(line) {
    if (line.trim() !== '' && line !== this.#lines.at(-1)) this.#lines.push(line);
    if (this.#lines.length > LIMIT) this.#lines.shift();
    this.#at = this.#lines.length;
    this.#draft = '';
  }

  /** The previous line, or null at the oldest. `current` is the text in the prompt. */
  older(current) {
    if (this.#at === 0) return null;
    if (this.#at === this.#lines.length) this.#draft = current;
    this.#at -= 1;
    return this.#lines[this.#at];
  }

  /** The next line, the draft at the end, or null if already there. */
  newer() {
    if (this.#at === this.#lines.length) return null;
    this.#at += 1;
    return this.#lines[this.#at] ?? this.#draft;
  }
}
