// The grammar of the command line: the commands, and the parsing of an entered line.

/**
 * All commands: name, argument (a key of the word list shown in /help), and whether the argument is
 * required. In the order of /help.
 */
export const COMMANDS = [
  { name: 'join', argument: 'arg-room', required: true },
  { name: 'nick', argument: 'arg-name', required: true },
  { name: 'msg', argument: 'arg-name-text', required: true },
  { name: 'kick', argument: 'arg-name', required: true },
  { name: 'who' },
  { name: 'clear' },
  { name: 'lang', argument: 'arg-lang', required: false },
  { name: 'quit' },
  { name: 'connect' },
  { name: 'help' },
];

/** Aliases, common in other chats. */
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
 * Parses a line:
 * `{ kind: 'nothing' }`, `{ kind: 'say', text }`, `{ kind: 'command', name, rest }`,
 * `{ kind: 'missing', name }` (its argument) or `{ kind: 'unknown', name, near }`.
 * A line that begins with two slashes is a message that begins with one.
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

/** The command with that name or alias. */
export function find(name) {
  const canonical = ALIASES.get(name) ?? name;
  return COMMANDS.find((command) => command.name === canonical);
}

/** The only command within one edit of the typed name, or null. */
function nearest(typed) {
  const close = COMMANDS.filter(({ name }) => name.startsWith(typed) || editDistance(name, typed) === 1);
  return typed !== '' && close.length === 1 ? close[0].name : null;
}

/** The edit distance of two words, with a transposition as one edit. */
function editDistance(a, b) {
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
