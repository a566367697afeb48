// A network between client and server that breaks after a number of bytes.

import { connect, createServer } from 'node:net';

/** Hands on `chunk` as far as `rest` bytes allow; returns what is left, or null once the line is cut. */
function pass(chunk, rest, to, cut) {
  if (chunk.length < rest) {
    to.write(chunk);
    return rest - chunk.length;
  }
  to.write(chunk.subarray(0, rest), cut);
  return null;
}

export class Cutter {
  /** The bytes that pass to the client, and to the server, on the next connection. */
  down = Infinity;
  up = Infinity;
  /** The bytes that have passed on the latest connection. */
  passed = { down: 0, up: 0 };
  #lines = new Set();
  #server = createServer((socket) => this.#join(socket));
  #target;

  static async start(target) {
    const cutter = new Cutter();
    cutter.#target = target;
    await new Promise((done) => cutter.#server.listen(0, '127.0.0.1', done));
    return cutter;
  }

  get port() {
    return this.#server.address().port;
  }

  #join(client) {
    const server = connect(this.#target, '127.0.0.1');
    const line = { client, server };
    const cut = () => {
      this.#lines.delete(line);
      client.destroy();
      server.destroy();
    };
    line.cut = cut;
    this.#lines.add(line);
    let { down, up } = this;
    const passed = (this.passed = { down: 0, up: 0 });
    this.down = this.up = Infinity;
    server.on('data', (chunk) => {
      if (down === null) return;
      passed.down += Math.min(chunk.length, down);
      down = pass(chunk, down, client, cut);
    });
    client.on('data', (chunk) => {
      if (up === null) return;
      passed.up += Math.min(chunk.length, up);
      up = pass(chunk, up, server, cut);
    });
    for (const end of [client, server]) end.setNoDelay().on('error', cut).on('close', cut);
  }

  /** Cuts every connection now. */
  cut() {
    for (const { cut } of this.#lines) cut();
  }

  stop() {
    this.cut();
    return new Promise((done) => this.#server.close(done));
  }
}
