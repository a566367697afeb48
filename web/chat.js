// The conversation: prints messages of the server, sends those of the user, and survives reconnects.

import { known, parts, t } from './i18n.js';
import { LIMITS, read, write } from './protocol.js';
import { Roster } from './roster.js';
import { length, mentions } from './text.js';

// Longer than the gateway buffers a message while it has no worker.
const ECHO_WITHIN_MS = 40_000;
const PROBE_AFTER_MS = 10_000;
const PROBE_WITHIN_MS = 8_000;
const NAMES_SHOWN = 200;
const UNCONFIRMED_KEPT = 50;

export class Chat {
  #connection;
  #terminal;
  #status;
  #on;
  #roster = new Roster();
  #id = null;
  #name = null;
  #room = null;
  #wantedRoom = null;
  #whoAsked = 0;
  #unconfirmed = [];
  #lostSince = null;
  #lostAt = null;

  /** `onIdentity({ name, room })` reports the current name and room; `onRefused()` that the name was rejected. */
  constructor({ connect, terminal, status, onIdentity, onRefused }) {
    this.#terminal = terminal;
    this.#status = status;
    this.#on = { onIdentity, onRefused };
    this.#connection = connect({
      onState: (state) => status.showState(state),
      onOpen: () => this.#logIn(),
      onFrame: (frame) => this.#receive(read(frame)),
      onLost: (loss) => this.#lost(loss),
      onClosed: (end) => this.#closed(end),
    });
  }

  get name() {
    return this.#name;
  }

  get room() {
    return this.#room;
  }

  get state() {
    return this.#connection.state.name;
  }

  get roster() {
    return this.#roster;
  }

  isMe(id) {
    return id === this.#id;
  }

  /** Sets the name, and enters the room as soon as the connection is open. */
  begin(name, room) {
    this.#take({ name, room });
    this.#connection.start();
  }

  /** Changes the room, once connected if there is no connection. */
  join(room) {
    this.#wantedRoom = room;
    if (this.state === 'online') this.#logIn();
    else this.reconnect();
  }

  rename(name) {
    if (this.state === 'online') return this.#connection.send(write.nick(name));
    this.#take({ name });
    this.note(parts('renamed-later', { name: this.#nick(this.#id, name) }));
  }

  /** Sends a message to the room; returns whether it was sent. */
  say(text) {
    if (this.state !== 'online') return false;
    if (!this.#connection.sendExpecting(write.say(text), ECHO_WITHIN_MS)) return false;
    this.#unconfirmed = [...this.#unconfirmed, text].slice(-UNCONFIRMED_KEPT);
    return true;
  }

  /** Sends a private message; returns whether it was sent. */
  whisper(person, text) {
    return this.state === 'online' && this.#connection.sendExpecting(write.whisper(person, text), ECHO_WITHIN_MS);
  }

  /** Removes a member from the room; returns whether the request was sent. */
  kick(person) {
    return this.state === 'online' && this.#connection.send(write.kick(person));
  }

  askWho() {
    if (this.state !== 'online') return false;
    this.#whoAsked += 1;
    return this.#connection.send(write.who());
  }

  quit() {
    this.#connection.stop();
    this.#lostSince = 'quit';
    this.#lostAt = new Date();
    this.#forgetAsked();
    this.note(parts('closed', { connect: { command: '/connect' } }));
  }

  /** Opens the connection immediately, unless it is open. */
  reconnect() {
    if (this.#name !== null) this.#connection.start();
  }

  /** The network or the tab is active again: reconnects immediately, and probes an open connection. */
  wake() {
    this.#connection.hurry();
    const doubtful = this.state === 'online' && this.#connection.silentFor > PROBE_AFTER_MS;
    if (doubtful) this.#connection.sendExpecting(write.who(), PROBE_WITHIN_MS);
  }

  note(line) {
    this.#terminal.print('notice', '--', line);
  }

  #warn(line) {
    this.#terminal.print('error', '!!', line);
  }

  #take({ name = this.#name, room = this.#room }) {
    this.#name = name;
    this.#room = room;
    this.#on.onIdentity({ name, room });
    this.#status.showRoom(room);
  }

  #logIn() {
    this.#connection.send(write.login(this.#name, this.#wantedRoom ?? this.#room));
  }

  #lost({ was }) {
    if (was === 'online') {
      this.#lostAt = new Date();
      this.#warn(parts('lost'));
    } else if (!this.#lostSince) this.#warn(parts('refused'));
    this.#lostSince ??= was;
    this.#forgetAsked();
  }

  /** Marks the time in which messages of others did not arrive. */
  #markGap() {
    if (!this.#lostAt) return;
    const [from, to] = [this.#lostAt, new Date()].map((time) => time.toTimeString().slice(0, 8));
    this.#terminal.printBare('gap', parts('gap', { from, to }));
    this.#lostAt = null;
  }

  #closed({ code, reason }) {
    this.#lostSince = 'closed';
    this.#lostAt = new Date();
    this.#forgetAsked();
    const key = `close-${reason || code}`;
    const why = known(key) ? t(key) : { said: reason ? `${reason} (${code})` : String(code) };
    this.#warn(parts('closed-by-server', { why, connect: { command: '/connect' } }));
  }

  /** After a lost connection: drops pending requests, and reports messages that may be lost. */
  #forgetAsked() {
    this.#whoAsked = 0;
    for (const text of this.#unconfirmed.splice(0)) {
      this.#warn(parts('unconfirmed', { text: { said: text } }));
    }
  }

  #receive(event) {
    if (event) this.#handlers[event.type](event);
  }

  #handlers = {
    ping: () => this.#connection.send(write.pong()),

    welcome: ({ id, name, room, people }) => {
      const back = this.#lostSince && this.#lostSince !== 'connecting' && this.#wantedRoom === null;
      this.#id = id;
      this.#setPeople(people);
      this.#take({ name, room: room ?? this.#wantedRoom ?? this.#room });
      this.#wantedRoom = null;
      this.#lostSince = null;
      if (back) this.#markGap();
      this.#connection.accept();
      const values = { name: this.#nick(id, name), room: { room: this.#room } };
      this.#terminal.print('good', '--', parts(back ? 'back-in' : 'you-are-in', values));
      this.#terminal.print('notice', '--', [...parts('people', { n: String(people.length) }), ...this.#names()]);
    },

    joined: ({ id, name, time }) => {
      if (this.isMe(id)) return;
      this.#roster.add(id, name);
      this.#countPeople();
      this.#terminal.print('joined', '→', parts('joined', { name: this.#nick(id, name) }), { sentAt: time });
    },

    left: ({ id, name, time }) => {
      if (this.isMe(id)) return;
      this.#roster.remove(id);
      this.#countPeople();
      this.#terminal.print('left', '←', parts('left', { name: this.#nick(id, name) }), { sentAt: time });
    },

    renamed: ({ id, name, oldName, time }) => {
      this.#roster.add(id, name);
      if (this.isMe(id)) this.#take({ name });
      const values = { name: this.#nick(id, name), old: this.#nick(id, oldName) };
      const key = this.isMe(id) ? 'renamed-you' : 'renamed';
      this.#terminal.print('notice', '--', parts(key, values), { sentAt: time });
    },

    said: ({ from, text, time }) => {
      const mine = this.isMe(from.id);
      if (mine) this.#unconfirmed.shift();
      else this.#status.countUnread();
      const kind = mine ? 'said own' : mentions(text, this.#name) ? 'said mention' : 'said';
      this.#terminal.print(kind, this.#nick(from.id, from.name), [{ said: text }], { sentAt: time });
    },

    whisper: ({ from, text, time }) => {
      this.#status.countUnread();
      const line = parts('private-to-you', { name: this.#nick(from.id, from.name) });
      this.#printPrivate(line, text, time);
    },

    'whisper-sent': ({ to, text, time }) => {
      const name = this.#roster.nameOf(to.id) ?? to.name;
      this.#printPrivate(parts('private-from-you', { name: this.#nick(to.id, name) }), text, time);
    },

    who: ({ room, people }) => {
      this.#setPeople(people);
      if (this.#whoAsked === 0) return;
      this.#whoAsked -= 1;
      const values = { n: String(people.length), room: { room: room ?? this.#room } };
      this.note([...parts('people-in', values), ...this.#names()]);
    },

    error: ({ code, message, limit }) => {
      const key = `error-${code}`;
      const n = String(limit ?? (code === 'name_too_long' ? LIMITS.name : LIMITS.content));
      this.#warn(known(key) ? parts(key, { n }) : parts('error-other', { text: { said: message || code } }));
      if (this.state === 'connecting') {
        this.#connection.stop();
        this.#on.onRefused();
      } else if (code === 'not_logged_in') this.#logIn();
      else if (code === 'content_too_long') this.#unconfirmed.shift();
      this.#wantedRoom = null;
    },
  };

  #printPrivate(heading, text, time) {
    this.#terminal.print('private', t('private'), [...heading, ': ', { said: text }], { sentAt: time });
  }

  #setPeople(people) {
    this.#roster.replace(people);
    this.#countPeople();
  }

  #countPeople() {
    this.#status.showPeople(this.#roster.size);
  }

  /** A name as part of a line; two members of one name are told apart by the ends of their ids. */
  #nick(id, name) {
    const tail = id ? this.#roster.handleAs(id, name).slice(name.length) : '';
    return { nick: name, id: id ?? '', tail };
  }

  /** The members of the room, as parts of a line. */
  #names() {
    const everybody = this.#roster.handles();
    const shown = everybody.slice(0, NAMES_SHOWN).flatMap(({ id, name, handle }, index) => [
      index > 0 ? '  ' : '',
      { nick: name, id, tail: handle.slice(name.length) },
      this.isMe(id) ? ` ${t('you-mark')}` : '',
    ]);
    const more = everybody.length - NAMES_SHOWN;
    return more > 0 ? [...shown, '  ', ...parts('and-more', { n: String(more) })] : shown;
  }
}

/** Validates a text: null if it may be sent, or the reason as parts of a line. */
export function whyNotText(text) {
  const count = length(text);
  return count <= LIMITS.content
    ? null
    : parts('text-too-long', { n: String(LIMITS.content), length: String(count) });
}
