// Safe display of received text: decodes entities once, shows hidden characters, and counts characters.

const ENTITIES = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#039;': "'",
  '&#39;': "'",
};

// One pass, so that `&amp;lt;` becomes `&lt;` and not `<`. PHP's nl2br keeps
// the line break after its tag; the pair is one line break.
const ESCAPED = /&(?:amp|lt|gt|quot|#0?39);|<br \/>(?:\r\n|\n|\r)?/g;

/** Reverts the server's escaping: its entities and `<br />`, nothing else. */
export function decode(escaped) {
  return escaped.replace(ESCAPED, (found) => ENTITIES[found] ?? '\n');
}

// Control characters (line break and tab apart), bidirectional embeddings,
// overrides and isolates, and characters of no width that make two names look
// alike. The joiners U+200C and U+200D stay: emoji and Persian need them.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const HIDDEN_ALL = new RegExp(HIDDEN, 'g');

// Directional marks are part of ordinary Hebrew and Arabic text; in names they only serve spoofing.
const MARKS = new Set(['\u200e', '\u200f', '\u061c', '\u00ad']);

// Addresses of web pages, without the punctuation of the sentence around them.
const LINK = /https?:\/\/[^\s<>"'\u3000-\u303f\uff00-\uffef]+/giu;
const TRAILING = /(?:[.,;:!?…]|&(?:lt|gt);)+$/;

/**
 * Splits a text into literal parts, links, and characters that are shown by code point, as in `less`:
 * `[{ text }, { link }, { code: 'U+202E' }, …]`. A link is shown as it was written, and ends before the
 * first hidden character.
 */
export function segments(text) {
  return withCodes(text).flatMap((part) => (part.text === undefined ? [part] : withLinks(part.text)));
}

function withLinks(text) {
  const parts = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const link = trimmed(found);
    if (!URL.canParse(link)) continue;
    if (index > from) parts.push({ text: text.slice(from, index) });
    parts.push({ link });
    from = index + link.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** Without the marks that end a sentence, and without a closing bracket that is not opened. */
function trimmed(link) {
  const plain = link.replace(TRAILING, '');
  const closes = [['(', ')'], ['[', ']']].some(
    ([open, close]) => plain.endsWith(close) && plain.split(close).length > plain.split(open).length,
  );
  return closes ? trimmed(plain.slice(0, -1)) : plain;
}

function withCodes(text) {
  const parts = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(HIDDEN_ALL)) {
    if (MARKS.has(found)) continue;
    if (index > from) parts.push({ text: text.slice(from, index) });
    parts.push({ code: codePoint(found) });
    from = index + found.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

function codePoint(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** The name on one line, without hidden characters; may be empty. */
export function cleanName(name) {
  return name.replace(HIDDEN_ALL, '').replace(/\s+/g, ' ').trim();
}

/** The length as the server counts it: in characters, not in UTF-16 code units. */
export function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** Whether `text` contains `name` as a separate word (CJK text has no word boundaries to check). */
export function mentions(text, name) {
  if (!name) return false;
  const word = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}_]/u;
  const haystack = text.toLowerCase();
  const needle = name.toLowerCase();
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) {
    const before = haystack.slice(0, at).at(-1) ?? '';
    const after = haystack.slice(at + needle.length).at(0) ?? '';
    const opens = !word.test(needle.at(0)) || !word.test(before);
    const closes = !word.test(needle.at(-1)) || !word.test(after);
    if (opens && closes) return true;
  }
  return false;
}

/** One of `count` colors for a handle, the same for every client (FNV-1a). */
export function colourOf(name, count) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name.normalize('NFC'))) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return ((hash ^ (hash >>> 15)) >>> 0) % count;
}
