// The chat's messages: frames from the server read into plain events, and what the page may send.

import { cleanName, decode } from './text.js';

/** What the server accepts, in characters. */
export const LIMITS = { name: 32, content: 4000, room: 64 };

const EVERYONE = 'all';

// What the server puts before a private text, for its addressee and for its
// sender. Names are escaped, so the first `</b>` ends the mark.
const TO_YOU = '<b>对你说: </b>';
const FROM_YOU = /^<b>你对([^<]*)说: <\/b>/;

/**
 * Reads one frame. Answers an event `{ type, … }` with every field of the promised kind, or null
 * for anything that is not a message of ours.
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

/** A name as people may read it; one without a visible character is still somebody. */
function name(value) {
  return cleanName(decode(text(value))) || '?';
}

/** A room's name, or null where the server did not say. */
function room(value) {
  return cleanName(decode(text(value))) || null;
}

function people(list) {
  return isObject(list) ? Object.entries(list).map(([id, called]) => [id, name(called)]) : [];
}

/** Frames from the page to the server. */
export const write = {
  login: (name, room) => JSON.stringify({ type: 'login', client_name: name, room_id: room }),
  say: (content) =>
    JSON.stringify({ type: 'say', to_client_id: EVERYONE, to_client_name: '', content }),
  whisper: (to, content) =>
    JSON.stringify({ type: 'say', to_client_id: to.id, to_client_name: to.name, content }),
  nick: (name) => JSON.stringify({ type: 'nick', client_name: name }),
  who: () => JSON.stringify({ type: 'who' }),
  pong: () => JSON.stringify({ type: 'pong' }),
};
