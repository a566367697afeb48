// The requests of the page to the command that serves it.

/** An answer that is an error: its text says what is wrong. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  status() {
    return this.#ask('status');
  }

  /** Samples behind number `after`: `{ next, samples }`. */
  samples(after) {
    return this.#ask(`samples?after=${after}`);
  }

  /** A page of clients: `{ clients, next, unanswered }`. */
  clients(filter) {
    return this.#ask(`clients?${new URLSearchParams(filter)}`);
  }

  /** A client: `{ client, session, events }`. */
  client(id) {
    return this.#ask(`clients/${encodeURIComponent(id)}`);
  }

  close(id, code, reason) {
    return this.#ask(`clients/${encodeURIComponent(id)}/close`, { code, reason });
  }

  async #ask(path, body) {
    const answer = await fetch(`api/${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { Authorization: `Bearer ${this.#token}`, ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Refused(answer.status, messageOf(text) ?? answer.statusText);
    return JSON.parse(text);
  }
}

function messageOf(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null;
  }
}
