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
      const namesakes = byName.get(person.name);
      if (namesakes) namesakes.push(person);
      else byName.set(person.name, [person]);
    }
    return [...byName.values()].flatMap((namesakes) =>
      namesakes.map((person) => ({ ...person, handle: handle(person, namesakes) })),
    );
  }

  /** The handle of one member. */
  handleOf(id) {
    return this.handles().find((person) => person.id === id)?.handle ?? this.nameOf(id) ?? '';
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

function handle(person, namesakes) {
  if (namesakes.length === 1) return person.name;
  const others = namesakes.filter((other) => other !== person);
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
