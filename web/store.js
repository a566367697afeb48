// What the page remembers: name and room and language, every value taken for hostile when read back.

import { LIMITS } from './protocol.js';
import { cleanName, length } from './text.js';

const PREFIX = 'chat.';

/** A name that may be sent, or null. */
export function validName(value) {
  return bounded(value, LIMITS.name);
}

/** A room that may be asked for, or null. A leading `#` is how people write rooms, not part of one. */
export function validRoom(value) {
  return bounded(typeof value === 'string' ? value.replace(/^\s*#/, '') : value, LIMITS.room);
}

function bounded(value, limit) {
  if (typeof value !== 'string') return null;
  const clean = cleanName(value);
  return clean !== '' && length(clean) <= limit ? clean : null;
}

/**
 * The tab's own value comes first, so that two tabs keep two names over a reload; a new tab begins
 * with what was used last anywhere.
 */
export const store = {
  get name() {
    return validName(read('name'));
  },
  set name(name) {
    write('name', name);
  },
  get room() {
    return validRoom(read('room'));
  },
  set room(room) {
    write('room', room);
  },
  get language() {
    return read('language');
  },
  set language(language) {
    write('language', language);
  },
};

/** The room named in the address, as `#room=lobby`, or null. */
export function roomInAddress() {
  return validRoom(new URLSearchParams(location.hash.slice(1)).get('room'));
}

/** Puts the room into the address, so that it can be passed on. */
export function showRoomInAddress(room) {
  history.replaceState(null, '', `#room=${encodeURIComponent(room)}`);
}

// Storage may be forbidden or full; then nothing is remembered and all else works.

function read(key) {
  for (const storage of storages()) {
    try {
      const value = storage().getItem(PREFIX + key);
      if (value !== null) return value;
    } catch {
      continue;
    }
  }
  return null;
}

function write(key, value) {
  for (const storage of storages()) {
    try {
      storage().setItem(PREFIX + key, value);
    } catch {
      continue;
    }
  }
}

function storages() {
  return [() => sessionStorage, () => localStorage];
}
