// The line at the bottom: editing, history, completion and the extra keys of a phone.

import { Completion } from './completion.js';
import { History } from './history.js';
import { t } from './i18n.js';

const MENU_SIZE = 12;

/**
 * Calls `onEnter(line)`, which returns whether the line was handled (and may be cleared);
 * `onScroll('page-up' | 'page-down' | 'start' | 'end')`; and `onCancel(line)` for Ctrl+C.
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
    for (const button of root.querySelectorAll('button:not(#newer)')) {
      // A tap on a key must not close the virtual keyboard.
      button.addEventListener('pointerdown', (event) => event.preventDefault());
    }
    root.querySelector('.keys').addEventListener('click', ({ target }) => this.#extraKey(target));
  }

  /** Shows `name@room $`. */
  showShell(name, room) {
    this.#asking = false;
    this.#line.setAttribute('aria-label', t('line-label'));
    this.#root.classList.remove('asking');
    this.#sign.replaceChildren(...sign({ name, room }));
  }

  /** Shows a question; without history and completion. */
  showQuestion(words, label) {
    this.#asking = true;
    this.#line.setAttribute('aria-label', label);
    this.#root.classList.add('asking');
    this.#sign.replaceChildren(span('sign-question', words));
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
    if (key.toLowerCase() !== 'c') return false;
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
      ...choices.map((choice, i) => span(first + i === index ? 'chosen' : '', choice.trim())),
    );
    this.#menu.hidden = false;
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

function span(className, text) {
  const made = document.createElement('bdi');
  made.className = className;
  made.textContent = text;
  return made;
}
