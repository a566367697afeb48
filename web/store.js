// Persistent state: name, room and language. Stored values are untrusted and validated when read.

import { LIMITS } from './protocol.js';
import { cleanName, length } from './text.js';

const PREFIX = 'chat.';

/** The name if it is valid, or null. */
export function validName(value) {
  return bounded(value, LIMITS.name);
}

/** The room if it is valid, or null. A leading `#` is notation, not part of the name. */
export function validRoom(value) {
  return bounded(typeof value === 'string' ? value.replace(/^\s*#/, '') : value, LIMITS.room);
}

function bounded(value, limit) {
  if (typeof value !== 'string') return null;
  const clean = cleanName(value);
  return clean !== '' && length(clean) <= limit ? clean : null;
}

/**
 * The value of the tab takes precedence, so that two tabs keep two names over a reload; a new tab
 * starts with the value used last in any tab.
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

/** The room in the URL fragment, such as `#room=lobby`, or null. */
export function roomInAddress() {
  return validRoom(new URLSearchParams(location.hash.slice(1)).get('room'));
}

/** Writes the room to the URL, so that the URL can be shared. */
export function showRoomInAddress(room) {
  history.replaceState(null, '', `#room=${encodeURIComponent(room)}`);
}

// If storage is forbidden or full, nothing is kept; everything else works.

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
