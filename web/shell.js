// Executes entered lines: the login first, then commands and messages.

import { whyNotText } from './chat.js';
import { COMMANDS, find, parse } from './commands.js';
import { guestName, parts, t } from './i18n.js';
import { LIMITS } from './protocol.js';
import { roomInAddress, validName, validRoom } from './store.js';
import { cleanName, length } from './text.js';

/** The commands that are allowed before the login. */
const NAMELESS = ['help', 'lang', 'clear'];

const KEYS = ['tab', 'history', 'newline', 'edit', 'yank', 'page', 'escape'];

/** Whether the page is used by touch, without a keyboard. */
const isTouch = () => matchMedia('(pointer: coarse)').matches;

export class Shell {
  #terminal;
  #prompt;
  #chat;
  #host;
  #setLanguage;
  #question = null;

  constructor({ terminal, prompt, chat, host, setLanguage }) {
    this.#terminal = terminal;
    this.#prompt = prompt;
    this.#chat = chat;
    this.#host = host;
    this.#setLanguage = setLanguage;
  }

  greet() {
    this.#terminal.printBare('banner', parts('welcome', { host: this.#host }));
  }

  hint() {
    this.#terminal.printBare('hint', parts(isTouch() ? 'hint-touch' : 'hint', { help: { command: '/help' } }));
  }

  /** Prompts for a name, with which the room is entered. */
  askName(room) {
    this.#question = { room, suggestion: guestName() };
    this.#terminal.printBare('hint', parts('about'));
    this.#terminal.printBare('hint', parts(isTouch() ? 'how-touch' : 'how'));
    this.repaint();
  }

  /** Whether a name is asked for. */
  get asks() {
    return this.#question !== null;
  }

  /** Shows the prompt for the current name and room. */
  repaint() {
    if (this.#question) {
      this.#prompt.showQuestion(t('login-prompt', { name: this.#question.suggestion }));
    } else if (this.#chat.name !== null) {
      this.#prompt.showShell(this.#chat.name, this.#chat.room);
    }
  }

  /** A new suggestion in the current language. */
  languageChanged() {
    if (this.#question) this.#question.suggestion = guestName();
    this.repaint();
  }

  /** Executes the line; returns whether it was handled. */
  enter(line) {
    const meant = parse(line);
    const helps = meant.kind === 'command' && NAMELESS.includes(meant.name);
    if (this.#question && !helps) return this.#answer(line);
    switch (meant.kind) {
      case 'nothing':
        if (this.#chat.state === 'closed') this.#chat.reconnect();
        return true;
      case 'say':
        return this.#say(meant.text);
      case 'command':
        this.#echo(line);
        this.#commands[meant.name](meant.rest);
        return true;
      case 'missing':
        this.#echo(line);
        this.#error(parts('usage', { usage: this.#usage(find(meant.name)) }));
        return true;
      default:
        this.#echo(line);
        this.#error(this.#unknown(meant));
        return true;
    }
  }

  /** Ctrl+L: clears the screen, as /clear does. */
  clear() {
    this.#terminal.clear();
  }

  /** Ctrl+C: keeps the line in the scrollback without executing it. */
  cancel(line) {
    this.#echo(`${line}^C`);
  }

  /** Starts a private message to the clicked member. */
  address({ id, name }) {
    if (this.#question || this.#chat.isMe(id)) return;
    this.#prompt.set(`/msg ${this.#chat.roster.handleOf(id) || name} `);
    this.#prompt.focus();
  }

  #answer(line) {
    if (line.startsWith('/')) {
      this.#error(parts('name-first'));
      return false;
    }
    const name = line.trim() === '' ? this.#question.suggestion : this.#checkedName(line);
    if (!name) return false;
    const { room, suggestion } = this.#question;
    this.#terminal.printBare('echo', [`${t('login-prompt', { name: suggestion })} `, { said: name }]);
    this.#question = null;
    this.hint();
    this.#chat.begin(name, roomInAddress() ?? room);
    return true;
  }

  #say(text) {
    const refusal = whyNotText(text) ?? (this.#chat.say(text) ? null : parts('not-online'));
    if (refusal) this.#error(refusal);
    return !refusal;
  }

  #commands = {
    join: (rest) => {
      const room = validRoom(rest);
      if (!room) return this.#error(parts('room-too-long', { n: String(LIMITS.room) }));
      if (room === this.#chat.room && this.#chat.state === 'online') {
        return this.#note(parts('already-in', { room: { room } }));
      }
      this.#chat.join(room);
    },

    nick: (rest) => {
      const name = this.#checkedName(rest);
      if (name) this.#chat.rename(name);
    },

    msg: (rest) => {
      const { found, typed, rest: text } = this.#chat.roster.address(rest);
      const person = this.#other(found, typed);
      if (!person) return;
      if (text === '') return this.#error(parts('usage', { usage: this.#usage(find('msg')) }));
      const refusal = whyNotText(text) ?? (this.#chat.whisper(person, text) ? null : parts('not-online'));
      if (refusal) this.#error(refusal);
    },

    kick: (rest) => {
      const { found, typed, rest: text } = this.#chat.roster.address(rest);
      if (text !== '') return this.#error(parts('nobody-called', { name: { said: rest } }));
      const person = this.#other(found, typed);
      if (person && !this.#chat.kick(person)) this.#error(parts('not-online'));
    },

    who: () => {
      if (!this.#chat.askWho()) this.#error(parts('not-online'));
    },

    clear: () => this.#terminal.clear(),

    lang: (rest) => {
      const wanted = rest.toLowerCase();
      if (!this.#setLanguage(wanted)) return this.#error(parts('no-such-language'));
      this.#note(parts('language'));
    },

    quit: () => {
      if (this.#chat.state !== 'closed') this.#chat.quit();
    },

    connect: () => {
      if (this.#chat.state === 'online') this.#note(parts('already-online'));
      else this.#chat.reconnect();
    },

    help: (rest) => {
      const one = find(rest.replace(/^\//, '').toLowerCase());
      if (one) return this.#terminal.printBare('entry', this.#row(one));
      this.#terminal.printBare('heading', [t('help-title')]);
      for (const command of COMMANDS) this.#terminal.printBare('entry', this.#row(command));
      this.#terminal.printBare('heading key', [t('help-keys')]);
      for (const key of KEYS) {
        this.#terminal.printBare('entry key', [{ pad: t(`key-${key}`) }, ' ', t(`help-key-${key}`)]);
      }
      this.#terminal.printBare('hint', [t('help-tap')]);
    },
  };

  /** The one other member found, or null after printing why there is none. */
  #other(found, typed) {
    if (found.length === 1 && !this.#chat.isMe(found[0].id)) return found[0];
    if (found.length === 0) this.#error(parts('nobody-called', { name: { said: typed } }));
    else if (found.length === 1) this.#error(parts('that-is-you'));
    else this.#error([...parts('several-called', { name: { said: typed } }), ...handles(found)]);
    return null;
  }

  #row(command) {
    return [{ pad: this.#synopsis(command) }, ' ', t(`help-${command.name}`)];
  }

  #synopsis({ name, argument }) {
    return [{ command: `/${name}` }, argument ? ` ${t(argument)}` : ''];
  }

  #usage(command) {
    return { pad: this.#synopsis(command) };
  }

  #unknown({ name, near }) {
    const values = { command: { said: `/${name}` }, help: { command: '/help' } };
    return near
      ? parts('did-you-mean', { ...values, near: { command: `/${near}` } })
      : parts('unknown-command', values);
  }

  /** The name to send, or null after printing why it is invalid. */
  #checkedName(typed) {
    const name = validName(typed);
    if (name) return name;
    const long = length(cleanName(typed)) > LIMITS.name;
    this.#error(parts(long ? 'name-too-long' : 'name-empty', { n: String(LIMITS.name) }));
    return null;
  }

  #echo(line) {
    const { name, room } = this.#chat;
    this.#terminal.printBare('echo', [name === null ? '$ ' : { sign: { name, room } }, { said: line }]);
  }

  #note(line) {
    this.#chat.note(line);
  }

  #error(line) {
    this.#terminal.print('error', '!!', line);
  }
}

function handles(people) {
  return people.flatMap(({ handle }, index) => [index > 0 ? '  ' : '', { said: handle }]);
}
