// A small server of the protocol with streams in memory, for what a test has to bring about.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const [TEXT, CLOSE, PING] = [1, 8, 9];

/** A WebSocket frame of a server. */
function frame(opcode, payload) {
  const length = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...length]), payload]);
}

/** Takes the whole frames of a client from the bytes; returns those and the rest. */
function frames(bytes) {
  const found = [];
  for (;;) {
    if (bytes.length < 6) return [found, bytes];
    const short = bytes[1] & 127;
    const header = short < 126 ? 2 : 4;
    const length = short < 126 ? short : bytes.readUInt16BE(2);
    const end = header + 4 + length;
    if (bytes.length < end) return [found, bytes];
    const mask = bytes.subarray(header, header + 4);
    const payload = Buffer.from(bytes.subarray(header + 4, end)).map((byte, at) => byte ^ mask[at % 4]);
    found.push([bytes[0] & 15, payload]);
    bytes = bytes.subarray(end);
  }
}

class Peer {
  channels = new Set();

  constructor(socket, server) {
    this.socket = socket;
    this.server = server;
    socket.setNoDelay();
    let rest = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      const [whole, left] = frames(Buffer.concat([rest, chunk]));
      rest = left;
      for (const [opcode, payload] of whole) this.#take(opcode, payload);
    });
    socket.on('error', () => {});
    socket.on('close', () => server.peers.delete(this));
  }

  #take(opcode, payload) {
    if (opcode === TEXT) this.server.take(this, JSON.parse(payload));
    else if (opcode === CLOSE) this.socket.end(frame(CLOSE, payload));
    else if (opcode === PING) this.socket.write(frame(PING + 1, payload));
  }

  tell(event, fields = {}) {
    this.socket.write(frame(TEXT, Buffer.from(JSON.stringify({ event, data: '{}', ...fields }))));
  }

  close(code, reason = '') {
    const head = Buffer.from([code >> 8, code & 255]);
    this.socket.end(frame(CLOSE, Buffer.concat([head, Buffer.from(reason)])));
  }
}

/** Messages of a channel: those after `offset - items.length` up to `offset` are kept. */
class Stream {
  epoch = 'e1';
  offset = 0;
  items = [];

  get position() {
    return { epoch: this.epoch, offset: this.offset };
  }

  append(data) {
    this.offset += 1;
    this.items.push([{ epoch: this.epoch, offset: this.offset }, data]);
  }

  /** The messages behind a position, and some before it; or the reason why there are none. */
  after({ epoch, offset }, repeated) {
    if (epoch !== this.epoch) return 'epoch';
    if (offset > this.offset) return 'ahead';
    if (offset < this.offset - this.items.length) return 'trimmed';
    return this.items.filter(([position]) => position.offset > offset - repeated);
  }
}

export class FakeServer {
  peers = new Set();
  streams = new Map();
  received = [];
  targets = [];
  protocols = [];
  /** The number of messages that a recovery repeats. */
  repeated = 0;
  /** Called with each subscription before it is answered. */
  onSubscribe = () => {};
  #http = createServer((_, response) => response.writeHead(404).end());

  static async start() {
    const server = new FakeServer();
    server.#http.on('upgrade', (request, socket) => server.#accept(request, socket));
    await new Promise((done) => server.#http.listen(0, '127.0.0.1', done));
    return server;
  }

  get port() {
    return this.#http.address().port;
  }

  #accept(request, socket) {
    const key = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
    const offered = request.headers['sec-websocket-protocol'];
    this.targets.push(request.url);
    this.protocols.push(offered);
    const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${key}`, ...(offered ? [`Sec-WebSocket-Protocol: ${offered.split(',')[0]}`] : [])];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    const peer = new Peer(socket, this);
    this.peers.add(peer);
    const data = JSON.stringify({ socket_id: `1.${this.targets.length}`, activity_timeout: 120 });
    peer.tell('pusher:connection_established', { data });
  }

  take(peer, message) {
    this.received.push(message);
    const { event, data } = message;
    if (event === 'pusher:ping') peer.tell('pusher:pong');
    else if (event === 'pusher:subscribe') this.#subscribe(peer, data);
    else if (event === 'pusher:unsubscribe') peer.channels.delete(data.channel);
  }

  #subscribe(peer, { channel, position }) {
    this.onSubscribe(channel);
    const stream = this.stream(channel);
    const missed = position ? stream.after(position, this.repeated) : undefined;
    const answer = { channel, position: stream.position };
    if (Array.isArray(missed)) {
      for (const [at, data] of missed) peer.tell('line', { channel, data, position: at });
      answer.recovered = true;
    } else if (position) Object.assign(answer, { recovered: false, reason: missed });
    peer.channels.add(channel);
    peer.tell('pusher_internal:subscription_succeeded', answer);
  }

  stream(channel) {
    if (!this.streams.has(channel)) this.streams.set(channel, new Stream());
    return this.streams.get(channel);
  }

  /** Appends a message to a channel's stream, and sends it to the subscribers. */
  publish(channel, data) {
    const stream = this.stream(channel);
    stream.append(data);
    for (const peer of this.peers) {
      if (peer.channels.has(channel)) peer.tell('line', { channel, data, position: stream.position });
    }
  }

  /** Keeps only the last messages of a stream. */
  trim(channel, count) {
    const stream = this.stream(channel);
    stream.items = stream.items.slice(stream.items.length - count);
  }

  /** The stream begins anew: what it had is lost. */
  lose(channel, epoch) {
    const stream = this.stream(channel);
    Object.assign(stream, { epoch, offset: 0, items: [] });
    for (const peer of this.peers) {
      const reset = { channel, position: stream.position, reason: 'epoch' };
      if (peer.channels.has(channel)) peer.tell('pusher_internal:stream_reset', reset);
    }
  }

  stop() {
    for (const { socket } of this.peers) socket.destroy();
    return new Promise((done) => this.#http.close(done));
  }
}
