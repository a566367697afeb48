// The members of the room: ids, names, and lookup by a typed name.

const SHORTEST_TAIL = 3;

/** The members of the room as last received from the server, in order of arrival. */
export class Roster {
  #names = new Map();

  /** Replaces the list by the server's. */
  replace(people) {
    this.#names = new Map(people);
  }

  add(id, name) {
    this.#names.set(id, name);
  }

  remove(id) {
    this.#names.delete(id);
  }

  clear() {
    this.#names.clear();
  }

  get size() {
    return this.#names.size;
  }

  nameOf(id) {
    return this.#names.get(id);
  }

  people() {
    return [...this.#names].map(([id, name]) => ({ id, name }));
  }

  /**
   * The handle of each member: the name, or, if several share it, `name#` and as many last digits of
   * the id as make it unique.
   */
  handles() {
    const byName = new Map();
    for (const person of this.people()) {
      const namesakes = byName.get(alike(person.name));
      if (namesakes) namesakes.push(person);
      else byName.set(alike(person.name), [person]);
    }
    return [...byName.values()].flatMap((namesakes) =>
      namesakes.map((person) => ({ ...person, handle: handle(person, namesakes) })),
    );
  }

  /** The handle of one member. */
  handleOf(id) {
    const name = this.nameOf(id);
    return name === undefined ? '' : this.handleAs(id, name);
  }

  /** The handle of a client under a name, which may have left, or may not have the name yet. */
  handleAs(id, name) {
    const others = this.people().filter((person) => person.id !== id && alike(person.name) === alike(name));
    const person = { id, name };
    return handle(person, [person, ...others]);
  }

  /**
   * Splits `bob hello there` into the addressed members and the rest. The longest known name wins, so
   * that names with spaces work unquoted. `found` is empty if no member has that name, and has
   * several entries if the name is ambiguous.
   */
  address(line) {
    const people = this.handles();
    const called = people.flatMap((person) => [
      { key: person.handle, person },
      { key: person.name, person },
    ]);
    for (const same of [(a, b) => a === b, (a, b) => a.toLowerCase() === b.toLowerCase()]) {
      const hits = called.filter(({ key }) => startsWithWord(line, key, same));
      const longest = hits.reduce((most, { key }) => Math.max(most, key.length), 0);
      const best = hits.filter(({ key }) => key.length === longest);
      const found = [...new Map(best.map(({ person }) => [person.id, person])).values()];
      if (found.length > 0) {
        return { found, typed: line.slice(0, longest), rest: line.slice(longest).trim() };
      }
    }
    const [typed, rest = ''] = cut(line);
    return { found: [], typed, rest };
  }
}

/** Names that look the same at a glance: in another case, or in letters of another width. */
function alike(name) {
  return name.normalize('NFKC').toLowerCase();
}

function handle(person, namesakes) {
  const others = namesakes.filter((other) => other !== person);
  if (others.length === 0) return person.name;
  for (let digits = SHORTEST_TAIL; digits < person.id.length; digits += 1) {
    const tail = person.id.slice(-digits);
    if (others.every((other) => !other.id.endsWith(tail))) return `${person.name}#${tail}`;
  }
  return `${person.name}#${person.id}`;
}

function startsWithWord(line, word, same) {
  return same(line.slice(0, word.length), word) && /^(\s|$)/.test(line.slice(word.length));
}

/** Splits a text into its first word and the rest. */
function cut(line) {
  const [, first, rest] = /^(\S*)\s*([\s\S]*)$/.exec(line);
  return [first, rest.trim()];
}
