// The line at the bottom: editing, history, completion and the extra keys of a phone.

import { Completion } from './completion.js';
import { History } from './history.js';
import { t } from './i18n.js';

const MENU_SIZE = 12;

/**
 * Calls `onEnter(line)`, which returns whether the line was handled (and may be cleared);
 * `onScroll('page-up' | 'page-down' | 'start' | 'end')`; `onCancel(line)` for Ctrl+C; and `onClear()` for
 * Ctrl+L.
 * Calls `handles()` for names to complete.
 */
export class Prompt {
  #root;
  #line;
  #sign;
  #menu;
  #on;
  #history = new History();
  #completion = new Completion();
  #asking = false;
  #leaving = false;
  #deleted = '';

  constructor(root, handlers) {
    this.#root = root;
    this.#line = root.querySelector('#line');
    this.#sign = root.querySelector('#sign');
    this.#menu = root.querySelector('#menu');
    this.#on = handlers;
    this.#line.addEventListener('keydown', (event) => this.#keyDown(event));
    this.#line.addEventListener('input', () => this.#edited());
    this.#line.addEventListener('blur', () => this.#endRound());
    root.querySelector('#send').addEventListener('click', () => this.#enter());
    // A tap on a key or on a candidate must not close the virtual keyboard.
    root.addEventListener('pointerdown', (event) => {
      if (event.target.closest('button:not(#newer)')) event.preventDefault();
    });
    root.querySelector('.keys').addEventListener('click', ({ target }) => this.#extraKey(target));
    this.#menu.addEventListener('click', ({ target }) => this.#choose(target.closest('button')));
  }

  /** Shows `name@room $`. */
  showShell(name, room) {
    this.#asking = false;
    this.#label('line', 'send');
    this.#root.classList.remove('asking');
    this.#sign.replaceChildren(...sign({ name, room }));
  }

  /** Asks for the name; without history and completion. */
  showQuestion(words) {
    this.#asking = true;
    this.#label('login', 'join');
    this.#root.classList.add('asking');
    this.#sign.replaceChildren(span('sign-question', words));
  }

  /** The names of the line and its button. The hint is visible where the line has a frame. */
  #label(line, button) {
    this.#line.setAttribute('aria-label', t(`${line}-label`));
    this.#line.placeholder = t(`${line}-hint`);
    const send = this.#root.querySelector('#send');
    send.textContent = t(button);
    send.setAttribute('aria-label', t(button === 'send' ? 'send-label' : button));
  }

  /** Whether the line has text that was not sent. */
  get hasDraft() {
    return this.#line.value.trim() !== '';
  }

  focus() {
    this.#line.focus({ preventScroll: true });
  }

  get focused() {
    return document.activeElement === this.#line;
  }

  /** Replaces the line and moves the caret to its end. */
  set(value, caret = value.length) {
    this.#line.value = value;
    this.#line.setSelectionRange(caret, caret);
    this.#fit();
  }

  #enter() {
    this.#endRound();
    const line = this.#line.value;
    const answer = this.#asking;
    if (!this.#on.onEnter(line)) return this.#bell();
    if (!answer) this.#history.add(line);
    this.set('');
  }

  #edited() {
    this.#leaving = false;
    this.#endRound();
    this.#fit();
  }

  #keyDown(event) {
    // During composition, all keys belong to the input method.
    if (event.isComposing || event.keyCode === 229) return;
    const { key, shiftKey } = event;
    if (['Shift', 'Control', 'Alt', 'Meta'].includes(key)) return;
    const chord = event.ctrlKey || event.metaKey || event.altKey;
    if (key === 'Tab' && !chord) return this.#tab(event, shiftKey ? -1 : 1);
    this.#endRound();
    this.#leaving = key === 'Escape';
    const done = chord ? this.#chord(event) : this.#plain(key, shiftKey);
    if (done) event.preventDefault();
  }

  #plain(key, shift) {
    switch (key) {
      case 'Enter':
        if (!shift || this.#asking) this.#enter();
        return !shift || this.#asking;
      case 'ArrowUp':
        return !shift && this.#walk('older');
      case 'ArrowDown':
        return !shift && this.#walk('newer');
      case 'PageUp':
        return this.#scroll('page-up');
      case 'PageDown':
        return this.#scroll('page-down');
      default:
        return false;
    }
  }

  #chord({ key, ctrlKey, altKey, metaKey }) {
    if (!ctrlKey || altKey || metaKey) return false;
    if (key === 'Home') return this.#scroll('start');
    if (key === 'End') return this.#scroll('end');
    if (key.toLowerCase() === 'c') return this.#interrupt();
    return this.#edit(key.toLowerCase());
  }

  /** The editing keys of a shell; returns whether the key is one. */
  #edit(key) {
    const { value, selectionStart: at } = this.#line;
    const begin = value.lastIndexOf('\n', at - 1) + 1;
    const end = value.indexOf('\n', at) < 0 ? value.length : value.indexOf('\n', at);
    const edits = {
      a: () => this.set(value, begin),
      e: () => this.set(value, end),
      u: () => this.#cut(begin, at),
      k: () => this.#cut(at, end),
      w: () => this.#cut(value.slice(0, at).search(/\S*\s*$/), at),
      y: () => this.#insert(this.#deleted),
      l: () => this.#on.onClear(),
    };
    if (!Object.hasOwn(edits, key)) return false;
    edits[key]();
    return true;
  }

  #cut(from, to) {
    const { value } = this.#line;
    if (from === to) return this.#bell();
    this.#deleted = value.slice(from, to);
    this.set(value.slice(0, from) + value.slice(to), from);
  }

  #insert(text) {
    const { value, selectionStart, selectionEnd } = this.#line;
    this.set(value.slice(0, selectionStart) + text + value.slice(selectionEnd), selectionStart + text.length);
  }

  /** Ctrl+C, unless it copies a selection. */
  #interrupt() {
    const selected = this.#line.selectionStart !== this.#line.selectionEnd || !getSelection().isCollapsed;
    if (selected) return false;
    this.#on.onCancel(this.#line.value);
    this.set('');
    return true;
  }

  #scroll(where) {
    this.#on.onScroll(where);
    return true;
  }

  /** Navigates the history, unless the caret can move to another line of the text. */
  #walk(direction) {
    if (this.#asking) return false;
    const { value, selectionStart, selectionEnd } = this.#line;
    const between = direction === 'older' ? value.slice(0, selectionStart) : value.slice(selectionEnd);
    if (between.includes('\n')) return false;
    const line = direction === 'older' ? this.#history.older(value) : this.#history.newer();
    if (line !== null) this.set(line);
    return true;
  }

  /** Completes; on an empty line, or after Escape, Tab moves to the next control. */
  #tab(event, step) {
    const { value, selectionStart } = this.#line;
    const leave = this.#asking || this.#leaving || value === '' || (step < 0 && !this.#completion.active);
    this.#leaving = false;
    if (leave) return;
    event?.preventDefault();
    const result = this.#completion.next(value, selectionStart, this.#on.handles(), step);
    if (!result) return this.#bell();
    this.set(result.value, result.caret);
    this.#showMenu(result);
  }

  #extraKey(target) {
    const key = target.closest('[data-key]')?.dataset.key;
    if (key === 'tab') this.#tab(null, 1);
    else if (key) {
      this.#endRound();
      if (key === 'slash') this.set(this.#line.value === '' ? '/' : this.#line.value);
      else this.#walk(key === 'up' ? 'older' : 'newer');
    }
    if (key) this.focus();
  }

  #showMenu({ candidates, index }) {
    if (candidates.length < 2) return this.#endRound();
    const first = Math.max(0, Math.min(index - (MENU_SIZE >> 1), candidates.length - MENU_SIZE));
    const choices = candidates.slice(first, first + MENU_SIZE);
    this.#menu.replaceChildren(
      ...choices.map((choice, i) => candidate(first + i, first + i === index, choice.trim())),
    );
    this.#menu.hidden = false;
  }

  /** Completes by the candidate that was tapped. */
  #choose(button) {
    if (!button || !this.#completion.active) return;
    const { value, caret } = this.#completion.take(Number(button.dataset.index));
    this.#endRound();
    this.set(value, caret);
    this.focus();
  }

  #endRound() {
    this.#completion.reset();
    this.#menu.hidden = true;
  }

  /** Signals an invalid key, as a terminal's bell. */
  #bell() {
    this.#root.classList.remove('bell');
    void this.#root.offsetWidth;
    this.#root.classList.add('bell');
  }

  /** Fits the height to the text, where CSS cannot do it. */
  #fit() {
    if (CSS.supports('field-sizing', 'content')) return;
    this.#line.style.height = 'auto';
    this.#line.style.height = `${this.#line.scrollHeight}px`;
  }
}

/** The elements of `name@room $`. */
export function sign({ name, room }) {
  return [span('sign-name', name), span('sign-at', '@'), span('sign-room', room), span('sign-mark', ' $ ')];
}

function candidate(index, isChosen, text) {
  const made = document.createElement('button');
  made.type = 'button';
  made.tabIndex = -1;
  made.className = isChosen ? 'chosen' : '';
  made.dataset.index = String(index);
  made.append(span('', text));
  return made;
}

function span(className, text) {
  const made = document.createElement('bdi');
  made.className = className;
  made.textContent = text;
  return made;
}
