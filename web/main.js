// Wires the page together: its parts, browser events, and the login.

import { Chat } from './chat.js';
import { Connection } from './connection.js';
import { localise, otherLanguage, preferred, speak } from './i18n.js';
import { Prompt } from './prompt.js';
import { Shell } from './shell.js';
import { Statusbar } from './statusbar.js';
import { roomInAddress, showRoomInAddress, store } from './store.js';
import { Terminal } from './terminal.js';

const FIRST_ROOM = 'lobby';

// The gateway that has served the page, and those that it names (--web-failover).
const own = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`;
const others = document.querySelector('meta[name="gateways"]').content.split(' ').filter(Boolean);

const element = (id) => document.getElementById(id);
const log = element('log');

const terminal = new Terminal(log, element('newer'), {
  onName: (person) => shell.address(person),
  onCommand: (command) => {
    prompt.set(`${command} `);
    prompt.focus();
  },
});

const prompt = new Prompt(element('prompt'), {
  onEnter: (line) => {
    terminal.toEnd();
    return shell.enter(line);
  },
  onCancel: (line) => shell.cancel(line),
  onClear: () => shell.clear(),
  onScroll: (where) =>
    ({
      'page-up': () => terminal.page(-1),
      'page-down': () => terminal.page(1),
      start: () => terminal.toStart(),
      end: () => terminal.toEnd(),
    })[where](),
  handles: () => chat.roster.handles().map(({ handle }) => handle),
});

const status = new Statusbar(document);

const chat = new Chat({
  connect: (handlers) => new Connection([own, ...others], handlers),
  terminal,
  status,
  onIdentity: ({ name, room }) => {
    store.name = name;
    store.room = room;
    showRoomInAddress(room);
    prompt.showShell(name, room);
  },
  onRefused: () => shell.askName(chat.room),
});

const shell = new Shell({ terminal, prompt, chat, host: location.host, setLanguage });

function setLanguage(name) {
  if (!speak(name)) return false;
  store.language = name;
  paintLanguage();
  return true;
}

function paintLanguage() {
  localise(document);
  const { label, tag } = otherLanguage();
  const button = element('language');
  button.textContent = label;
  button.lang = tag;
  status.repaint();
  shell.languageChanged();
}

element('language').addEventListener('click', () => setLanguage(otherLanguage().name));
element('help').addEventListener('click', () => shell.enter('/help'));
element('who').addEventListener('click', () => shell.enter('/who'));

// Typing focuses the prompt, and so does a click, unless it selected text to copy.
document.addEventListener('keydown', (event) => {
  const chord = event.ctrlKey || event.metaKey || event.altKey;
  const types = (event.key.length === 1 && event.key !== ' ') || event.key === 'Process';
  if (types && !chord) prompt.focus();
});
// A tap does so where it would hide nothing that is read: on empty ground, or before the first line.
log.addEventListener('click', ({ pointerType, target }) => {
  const reads = pointerType !== 'mouse' && target !== log && !shell.asks;
  if (!reads && getSelection().isCollapsed && !target.closest('a')) prompt.focus();
});

// A terminal's Ctrl+W closes the tab in most browsers; a line that was typed is not lost unasked.
addEventListener('beforeunload', (event) => {
  if (prompt.hasDraft) event.preventDefault();
});

addEventListener('online', () => chat.wake());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) chat.wake();
});
addEventListener('hashchange', () => {
  const room = roomInAddress();
  if (room && chat.name !== null && room !== chat.room) chat.join(room);
});

// Sets the visible height where the page does not shrink for a virtual keyboard by itself.
visualViewport?.addEventListener('resize', () => {
  const covered = innerHeight - visualViewport.height * visualViewport.scale > 1;
  document.documentElement.style.setProperty('--height', covered ? `${visualViewport.height}px` : '');
  if (covered) scrollTo(0, 0);
});

speak(store.language ?? '') || speak(preferred(navigator.languages ?? [navigator.language]));
paintLanguage();
shell.greet();
const room = roomInAddress() ?? store.room ?? FIRST_ROOM;
status.showRoom(room);
if (store.name) {
  shell.hint();
  chat.begin(store.name, room);
} else {
  shell.askName(room);
}
if (matchMedia('(pointer: fine)').matches) prompt.focus();
