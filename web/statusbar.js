// The bar at the top and the window's title: room, people, state of the connection, unread messages.

import { t } from './i18n.js';

const TICK_MS = 250;

export class Statusbar {
  #document;
  #state = { name: 'idle' };
  #room = '';
  #people = 0;
  #unread = 0;
  #ticking = 0;

  constructor(document) {
    this.#document = document;
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.#setUnread(0);
    });
  }

  /** Shows a state of the connection. */
  showState(state) {
    this.#state = state;
    clearInterval(this.#ticking);
    if (state.name === 'waiting') this.#ticking = setInterval(() => this.#paintState(), TICK_MS);
    this.#paintState();
    this.#paintPeople();
    this.#text('#state-said', t(`state-${state.name}`));
  }

  showRoom(room) {
    this.#room = room;
    this.#text('#room', `#${room}`);
    this.#paintTitle();
  }

  showPeople(count) {
    this.#people = count;
    this.#paintPeople();
  }

  /** Counts a message that arrived while the tab was hidden. */
  countUnread() {
    if (this.#document.hidden) this.#setUnread(this.#unread + 1);
  }

  /** Renders everything again, in the current language. */
  repaint() {
    this.showState(this.#state);
    this.#paintTitle();
  }

  #setUnread(count) {
    this.#unread = count;
    this.#paintTitle();
  }

  #paintState() {
    const { name, at } = this.#state;
    const seconds = name === 'waiting' ? Math.ceil((at - Date.now()) / 1000) : 0;
    this.#document.documentElement.dataset.state = name;
    this.#text('#state', seconds > 0 ? t('state-waiting-in', { n: seconds }) : t(`state-${name}`));
  }

  #paintPeople() {
    const button = this.#document.querySelector('#who');
    button.hidden = this.#state.name !== 'online';
    button.textContent = t('here', { n: this.#people });
  }

  #paintTitle() {
    const unread = this.#unread > 0 ? `(${this.#unread}) ` : '';
    const room = this.#room ? `#${this.#room} · ` : '';
    this.#document.title = `${unread}${room}${t('title')}`;
  }

  #text(selector, text) {
    const element = this.#document.querySelector(selector);
    if (element.textContent !== text) element.textContent = text;
  }
}
