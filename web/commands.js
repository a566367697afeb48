// The command line's grammar: which commands there are and what a typed line means.

/**
 * Every command: its name, what follows it (a key of the word list shown in /help), and whether
 * something must follow. The order is that of /help.
 */
export const COMMANDS = [
  { name: 'join', argument: 'arg-room', required: true },
  { name: 'nick', argument: 'arg-name', required: true },
  { name: 'msg', argument: 'arg-name-text', required: true },
  { name: 'who' },
  { name: 'clear' },
  { name: 'lang', argument: 'arg-lang', required: false },
  { name: 'quit' },
  { name: 'connect' },
  { name: 'help' },
];

/** Other spellings that people of other chats have in their fingers. */
const ALIASES = new Map([
  ['j', 'join'],
  ['name', 'nick'],
  ['m', 'msg'],
  ['w', 'msg'],
  ['whisper', 'msg'],
  ['names', 'who'],
  ['cls', 'clear'],
  ['exit', 'quit'],
  ['q', 'quit'],
  ['reconnect', 'connect'],
  ['language', 'lang'],
  ['h', 'help'],
  ['?', 'help'],
]);

/**
 * What a line means:
 * `{ kind: 'nothing' }`, `{ kind: 'say', text }`, `{ kind: 'command', name, rest }`,
 * `{ kind: 'missing', name }` (an argument is) or `{ kind: 'unknown', name, near }`.
 * A line that begins with two slashes is said with one.
 */
export function parse(line) {
  if (line.trim() === '') return { kind: 'nothing' };
  if (!line.startsWith('/')) return { kind: 'say', text: line.trimEnd() };
  if (line.startsWith('//')) return { kind: 'say', text: line.slice(1).trimEnd() };
  const [, typed, rest] = /^\/(\S*)\s*([\s\S]*)$/.exec(line);
  const name = typed.toLowerCase();
  const command = find(name);
  if (!command) return { kind: 'unknown', name: typed, near: nearest(name) };
  if (command.required && rest.trim() === '') return { kind: 'missing', name: command.name };
  return { kind: 'command', name: command.name, rest: rest.trim() };
}

/** The command of that name or alias. */
export function find(name) {
  const canonical = ALIASES.get(name) ?? name;
  return COMMANDS.find((command) => command.name === canonical);
}

/** The command one slip away from what was typed, if there is just one. */
function nearest(typed) {
  const close = COMMANDS.filter(({ name }) => name.startsWith(typed) || slips(name, typed) === 1);
  return typed !== '' && close.length === 1 ? close[0].name : null;
}

/** Edits between two words, a swap of neighbours counted as one. */
function slips(a, b) {
  const row = (n) => Array.from({ length: n + 1 }, (_, i) => i);
  const table = row(a.length).map((i) => row(b.length).map((j) => (i === 0 ? j : j === 0 ? i : 0)));
  for (let i = 1; i <= a.length; i += 1) {
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(
        table[i - 1][j] + 1,
        table[i][j - 1] + 1,
        table[i - 1][j - 1] + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, table[i - 2][j - 2] + 1);
      }
      table[i][j] = best;
    }
  }
  return table[a.length][b.length];
}
