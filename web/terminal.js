// The scrollback: prints lines as text, follows the end unless scrolled up, and drops the oldest lines.

import { language, t } from './i18n.js';
import { sign } from './prompt.js';
import { colourOf, segments } from './text.js';

const MAX_LINES = 2_000;
const COLOURS = 24;
const AT_END_PX = 24;

/**
 * Prints into a log element. A line is a list of strings and of
 * `{ nick, id, tail }`, `{ room }`, `{ command }`, `{ said }` (a message), `{ pad }` (a column) and
 * `{ sign }` (the prompt).
 */
export class Terminal {
  #log;
  #newer;
  #atEnd = true;
  #top = 0;
  #unseen = 0;
  #day = '';
  #settling = 0;

  /** `onName({ id, name })` and `onCommand(text)` report clicks. */
  constructor(log, newer, { onName, onCommand }) {
    this.#log = log;
    this.#newer = newer;
    this.#follow(true);
    log.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    newer.addEventListener('click', () => this.toEnd());
    new ResizeObserver(() => this.#settle()).observe(log);
    log.addEventListener('click', ({ target }) => {
      if (getSelection().isCollapsed) activate(target.closest('.nick, .command'));
    });
    log.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || !event.target.matches('.nick, .command')) return;
      event.preventDefault();
      activate(event.target);
    });
    function activate(hit) {
      if (hit?.classList.contains('nick')) onName({ id: hit.dataset.id, name: hit.dataset.name });
      else if (hit) onCommand(hit.textContent);
    }
  }

  /**
   * Prints a line. `kind` is its style, `gutter` the sign or name before the rule, `sentAt` the
   * time of the server, shown as a tooltip (its clock and time zone may differ from the browser's).
   */
  print(kind, gutter, parts, { sentAt = '' } = {}) {
    const now = new Date();
    this.#printDay(now);
    const line = element('div', `line ${kind}`);
    const time = element('time', 'time', clock(now).slice(0, 5));
    time.append(element('span', 'seconds', clock(now).slice(5)));
    time.dateTime = now.toISOString();
    if (sentAt) time.title = sentAt;
    const who = element('span', 'who');
    who.append(render(gutter));
    who.title = gutter.nick ?? '';
    const rule = element('span', 'rule', ' │ ');
    rule.setAttribute('aria-hidden', 'true');
    const text = element('span', 'text');
    text.append(...parts.map(render));
    // No line break is possible here: a long word begins beside the name.
    line.append(time, '\u00a0', who, rule, text);
    this.#append(line);
  }

  /** Prints a line without time and sign, such as the banner or a table. */
  printBare(kind, parts) {
    const line = element('div', `line bare ${kind}`);
    line.append(...parts.map(render));
    this.#append(line);
  }

  /** Clears the screen. */
  clear() {
    this.#log.replaceChildren();
    this.toEnd();
  }

  /** Scrolls by one screen, up (-1) or down (1). */
  page(direction) {
    this.#log.scrollBy({ top: direction * this.#log.clientHeight * 0.9 });
  }

  toStart() {
    this.#log.scrollTop = 0;
  }

  toEnd() {
    this.#follow(true);
    this.#settle();
  }

  #append(line) {
    this.#log.append(line);
    while (this.#log.childElementCount > MAX_LINES) this.#log.firstElementChild.remove();
    if (!this.#atEnd && !line.classList.contains('echo')) this.#showUnseen(this.#unseen + 1);
    this.#settle();
  }

  #printDay(now) {
    const day = now.toDateString();
    if (this.#day && this.#day !== day) {
      const written = new Intl.DateTimeFormat(language(), { dateStyle: 'full' }).format(now);
      this.printBare('day', [written]);
    }
    this.#day = day;
  }

  // Reads the layout once per frame, for any number of lines.
  #settle() {
    if (!this.#atEnd || this.#settling) return;
    this.#settling = requestAnimationFrame(() => {
      this.#settling = 0;
      if (!this.#atEnd) return;
      this.#log.scrollTop = this.#log.scrollHeight;
      this.#showUnseen(0);
    });
  }

  // Only scrolling up stops following; new lines below the view do not.
  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const near = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    if (near) this.#showUnseen(0);
    if (near || scrollTop < this.#top) this.#follow(near);
    this.#top = scrollTop;
  }

  // While following, scroll anchoring must not keep the view on an old line when lines are dropped.
  #follow(atEnd) {
    this.#atEnd = atEnd;
    this.#log.classList.toggle('following', atEnd);
  }

  #showUnseen(count) {
    this.#unseen = count;
    this.#newer.hidden = count === 0;
    this.#newer.textContent = count === 0 ? '' : t('new-messages', { n: count });
  }
}

// Everything below creates text nodes: no part of a message is ever interpreted as markup.

function render(part) {
  if (typeof part === 'string') return shown(element('span', ''), part);
  if (part.nick !== undefined) {
    const tail = part.tail ?? '';
    const nick = element('bdi', `nick c${colourOf(part.nick + tail, COLOURS)}`, part.nick);
    if (tail) nick.append(element('span', 'tail', tail));
    nick.dataset.id = part.id ?? '';
    nick.dataset.name = part.nick;
    return clickable(nick);
  }
  if (part.room !== undefined) return element('bdi', 'room-name', `#${part.room}`);
  if (part.command !== undefined) return clickable(element('span', 'command', part.command));
  if (part.pad !== undefined) {
    const pad = element('span', 'pad');
    pad.append(...[part.pad].flat().map(render));
    return pad;
  }
  if (part.sign !== undefined) {
    const made = element('span', 'sign');
    made.append(...sign(part.sign));
    return made;
  }
  const said = shown(element('bdi', 'said-text'), part.said);
  said.dir = 'auto';
  return said;
}

function shown(parent, text) {
  parent.append(...segments(text).map(shownSegment));
  return parent;
}

function shownSegment({ text, link, code }) {
  if (text !== undefined) return text;
  if (link === undefined) return element('span', 'hidden-char', code);
  const made = element('a', 'link', link);
  made.href = link;
  made.target = '_blank';
  made.rel = 'noopener noreferrer nofollow';
  return made;
}

// A button that is copied as text. It is reached by Enter, once it has the focus of a click or of a
// screen reader; Tab would have to pass every name of the conversation.
function clickable(made) {
  made.setAttribute('role', 'button');
  made.tabIndex = -1;
  return made;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function clock(date) {
  return date.toTimeString().slice(0, 8);
}
