// The messages of the chat: frames of the server, parsed into plain events, and frames of the page.

import { cleanName, decode } from './text.js';

/** The limits of the server, in characters. */
export const LIMITS = { name: 32, content: 4000, room: 64 };

const EVERYONE = 'all';

// The prefixes of a private text, for its recipient and for its sender. Names
// are escaped, so the first `</b>` ends the prefix.
const TO_YOU = '<b>对你说: </b>';
const FROM_YOU = /^<b>你对([^<]*)说: <\/b>/;

/**
 * Parses a frame. Returns an event `{ type, … }` with every field of the documented type, or null
 * for anything else.
 */
export function read(frame) {
  const message = parse(frame);
  const reader = message && Object.hasOwn(READERS, message.type) && READERS[message.type];
  return reader ? reader(message) : null;
}

const READERS = {
  ping: () => ({ type: 'ping' }),

  login: (m) => {
    const who = { id: text(m.client_id), name: name(m.client_name), time: text(m.time) };
    if (!isObject(m.client_list)) return { type: 'joined', ...who };
    return { type: 'welcome', ...who, room: room(m.room_id), people: people(m.client_list) };
  },

  say: (m) => {
    const content = text(m.content);
    const said = {
      type: 'said',
      from: { id: text(m.from_client_id), name: name(m.from_client_name) },
      time: text(m.time),
    };
    if (text(m.to_client_id) === EVERYONE) return { ...said, text: decode(content) };
    const sent = FROM_YOU.exec(content);
    const to = { id: text(m.to_client_id), name: sent ? name(sent[1]) : '' };
    const mark = sent ? sent[0].length : content.startsWith(TO_YOU) ? TO_YOU.length : 0;
    return { ...said, type: sent ? 'whisper-sent' : 'whisper', to, text: decode(content.slice(mark)) };
  },

  logout: (m) => ({
    type: 'left',
    id: text(m.from_client_id),
    name: name(m.from_client_name),
    time: text(m.time),
  }),

  nick: (m) => ({
    type: 'renamed',
    id: text(m.client_id),
    name: name(m.client_name),
    oldName: name(m.old_name),
    time: text(m.time),
  }),

  who: (m) => ({ type: 'who', room: room(m.room_id), people: people(m.client_list) }),

  error: (m) => ({
    type: 'error',
    code: text(m.code),
    message: text(m.message),
    limit: Number.isSafeInteger(m.limit) ? m.limit : null,
  }),
};

function parse(frame) {
  if (typeof frame !== 'string') return null;
  try {
    const message = JSON.parse(frame);
    return isObject(message) ? message : null;
  } catch {
    return null;
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value) {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** A displayable name, with a fallback for a name without visible characters. */
function name(value) {
  return cleanName(decode(text(value))) || '?';
}

/** The name of a room, or null if the server did not send it. */
function room(value) {
  return cleanName(decode(text(value))) || null;
}

function people(list) {
  return isObject(list) ? Object.entries(list).map(([id, called]) => [id, name(called)]) : [];
}

/** The frames that the page sends. */
export const write = {
  login: (name, room) => JSON.stringify({ type: 'login', client_name: name, room_id: room }),
  say: (content) =>
    JSON.stringify({ type: 'say', to_client_id: EVERYONE, to_client_name: '', content }),
  whisper: (to, content) =>
    JSON.stringify({ type: 'say', to_client_id: to.id, to_client_name: to.name, content }),
  nick: (name) => JSON.stringify({ type: 'nick', client_name: name }),
  kick: ({ id }) => JSON.stringify({ type: 'kick', client_id: id }),
  who: () => JSON.stringify({ type: 'who' }),
  pong: () => JSON.stringify({ type: 'pong' }),
};
