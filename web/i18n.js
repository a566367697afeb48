// The two languages of the page: selection, and words with values filled in.

import { LANGUAGES, WORDS } from './words.js';

let column = 0;

/** The current language, as an HTML language tag. */
export function language() {
  return LANGUAGES[column].tag;
}

/** Selects a language by its short name (`en`, `zh`); returns whether it exists. */
export function speak(name) {
  const index = LANGUAGES.findIndex((each) => each.name === name);
  if (index < 0) return false;
  column = index;
  return true;
}

/** The first supported language of the browser, English otherwise. */
export function preferred(wanted) {
  const names = wanted.map((tag) => String(tag).toLowerCase().split('-')[0]);
  return names.find((name) => LANGUAGES.some((each) => each.name === name)) ?? LANGUAGES[0].name;
}

/** The language that the language switch selects. */
export function otherLanguage() {
  return LANGUAGES[(column + 1) % LANGUAGES.length];
}

/** Words as one string. */
export function t(key, values = {}) {
  return parts(key, values).join('');
}

/** Words as a list of strings and the values between them, of any type. */
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

/** Translates elements: `data-t` is the key of the text, `data-t-label` of the accessible name. */
export function localise(root) {
  root.documentElement.lang = language();
  for (const element of root.querySelectorAll('[data-t]')) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of root.querySelectorAll('[data-t-label]')) {
    element.setAttribute('aria-label', t(element.dataset.tLabel));
  }
}

/** A suggested name for a guest. */
export function guestName(random = Math.random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const { first, second, join } = LANGUAGES[column].guests;
  return pick(first) + join + pick(second);
}
