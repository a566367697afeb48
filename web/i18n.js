// The page's two languages: which one is spoken, and words with names filled in.

import { LANGUAGES, WORDS } from './words.js';

let column = 0;

/** The language spoken now, as an HTML language tag. */
export function language() {
  return LANGUAGES[column].tag;
}

/** Picks by short name (`en`, `zh`); answers whether there is such a language. */
export function speak(name) {
  const index = LANGUAGES.findIndex((each) => each.name === name);
  if (index < 0) return false;
  column = index;
  return true;
}

/** The first language of the reader's that we have, English otherwise. */
export function preferred(wanted) {
  const names = wanted.map((tag) => String(tag).toLowerCase().split('-')[0]);
  return names.find((name) => LANGUAGES.some((each) => each.name === name)) ?? LANGUAGES[0].name;
}

/** The language that the switch changes to. */
export function otherLanguage() {
  return LANGUAGES[(column + 1) % LANGUAGES.length];
}

/** Words as one string. */
export function t(key, values = {}) {
  return parts(key, values).join('');
}

/** Words as a list of strings and of the values that stand between them, whatever those are. */
export function parts(key, values = {}) {
  const template = WORDS[key]?.[column] ?? key;
  return template
    .split(/\{(\w+)\}/)
    .map((piece, index) => (index % 2 === 0 ? piece : (values[piece] ?? '')))
    .filter((piece) => piece !== '');
}

export function known(key) {
  return Object.hasOwn(WORDS, key);
}

/** Fills in the elements that name their words: `data-t` the text, `data-t-label` the accessible name. */
export function localise(root) {
  root.documentElement.lang = language();
  for (const element of root.querySelectorAll('[data-t]')) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of root.querySelectorAll('[data-t-label]')) {
    element.setAttribute('aria-label', t(element.dataset.tLabel));
  }
}

/** A name to suggest to a guest. */
export function guestName(random = Math.random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const { first, second, join } = LANGUAGES[column].guests;
  return pick(first) + join + pick(second);
}
