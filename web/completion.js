// Tab completion: candidates at the caret, and cycling through them.

import { COMMANDS, find } from './commands.js';

/**
 * Completes the line at the caret and keeps its position, so that the next Tab offers the next
 * candidate. Any other edit must call `reset`.
 */
export class Completion {
  #round = null;

  reset() {
    this.#round = null;
  }

  /** Whether another Tab continues to cycle through candidates. */
  get active() {
    return this.#round !== null;
  }

  /**
   * Returns `{ value, caret, candidates, index }`, or null when there is nothing to complete (and Tab
   * should have its default action). `step` is 1 or -1.
   */
  next(value, caret, handles, step = 1) {
    this.#round ??= begin(value, caret, handles);
    if (!this.#round) return null;
    const { candidates, head, tail } = this.#round;
    const before = this.#round.index ?? (step > 0 ? -1 : 0);
    const index = (before + step + candidates.length) % candidates.length;
    this.#round.index = index;
    const done = head + candidates[index];
    if (candidates.length === 1) this.reset();
    return { value: done + tail, caret: done.length, candidates, index };
  }

  /** Takes one of the offered candidates, and ends the round. */
  take(index) {
    const { candidates, head, tail } = this.#round;
    this.reset();
    const done = head + candidates[index];
    return { value: done + tail, caret: done.length };
  }
}

function begin(value, caret, handles) {
  const head = value.slice(0, caret);
  const tail = value.slice(caret);
  const round = command(head) ?? commandArgument(head, handles) ?? nameInText(head, handles);
  return round && round.candidates.length > 0 ? { ...round, tail, index: null } : null;
}

/** `/jo` → `/join ` */
function command(head) {
  const typed = /^\/(\w*)$/.exec(head);
  if (!typed) return null;
  const names = COMMANDS.map(({ name }) => name).filter((name) => name.startsWith(typed[1].toLowerCase()));
  return { head: '', candidates: names.map((name) => `/${name} `) };
}

/** `/msg bo` → `/msg bob `, `/lang z` → `/lang zh`, `/help jo` → `/help join` */
function commandArgument(head, handles) {
  const typed = /^(\/(\w+)\s+)([\s\S]*)$/.exec(head);
  if (!typed) return null;
  const [, before, name, argument] = typed;
  const choices = {
    msg: () => handles.map((handle) => `${handle} `),
    kick: () => handles,
    lang: () => ['en', 'zh'],
    help: () => COMMANDS.map((each) => each.name),
  }[find(name.toLowerCase())?.name]?.();
  const candidates = choices?.filter((choice) => startsWith(choice, argument)) ?? [];
  return candidates.length > 0 ? { head: before, candidates } : null;
}

/** `hello bo` → `hello bob `, and at the start of the line `bo` → `bob: ` */
function nameInText(head, handles) {
  if (/^\/(?!\/)\w*$/.test(head)) return null;
  const word = /\S+$/.exec(head)?.[0];
  if (!word) return null;
  const typed = word.replace(/^@/, '');
  const before = head.slice(0, head.length - typed.length);
  const after = before === '' ? ': ' : ' ';
  const candidates = handles.filter((handle) => typed && startsWith(handle, typed));
  return { head: before, candidates: candidates.map((handle) => handle + after) };
}

function startsWith(whole, part) {
  return whole.toLowerCase().startsWith(part.toLowerCase());
}
