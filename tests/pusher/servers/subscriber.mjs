// Subscribers for the tests of server SDKs, in any language: a small client of the protocol.
//
//   node subscriber.mjs CHANNEL...   subscribes, and prints each received message as a line of JSON;
//                                    a channel `@USER` signs in as that user. Its first line has the
//                                    socket id, the last one the close code.

import crypto from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { WebSocket } from 'ws';

const { PUSHER_WS_PORT: port, PUSHER_KEY: key, PUSHER_SECRET: secret } = process.env;

export const sign = (text) =>
  `${key}:${crypto.createHmac('sha256', secret).update(text).digest('hex')}`;

export class Subscriber {
  constructor() {
    this.messages = [];
    this.waiting = [];
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/app/${key}?protocol=7&client=js&version=8.6.0`);
    this.socket.on('message', (data) => this.take(JSON.parse(data)));
    this.socket.on('close', (code) => this.take({ event: 'closed', code }));
    this.socket.on('error', (error) => this.take({ event: 'failed', message: error.message }));
  }

  static async connect() {
    const subscriber = new Subscriber();
    const { data } = await subscriber.next('pusher:connection_established');
    subscriber.socketId = JSON.parse(data).socket_id;
    return subscriber;
  }

  take(message) {
    this.messages.push(message);
    this.waiting.splice(0).forEach((wake) => wake());
  }

  // The next message with this event, or the next one; those before it are dropped.
  async next(event) {
    const late = setTimeout(() => {
      console.error(`no ${event} within 30 s`);
      process.exit(1);
    }, 30_000);
    for (;;) {
      while (this.messages.length) {
        const message = this.messages.shift();
        if (!event || message.event === event) {
          clearTimeout(late);
          return message;
        }
      }
      await new Promise((wake) => this.waiting.push(wake));
    }
  }

  send(event, data) {
    this.socket.send(JSON.stringify({ event, data }));
  }

  async subscribe(channel, authorize) {
    const auth = authorize ?? defaults;
    this.send('pusher:subscribe', { channel, ...auth(this.socketId, channel) });
    return this.next('pusher_internal:subscription_succeeded');
  }

  async signIn(user, authenticate) {
    const data = authenticate ? authenticate(this.socketId) : signedIn(this.socketId, user);
    this.send('pusher:signin', data);
    await this.next('pusher:signin_success');
    return this.subscribe(`#server-to-user-${user}`, () => ({ auth: '' }));
  }

  close() {
    this.socket.close();
  }
}

const signedIn = (socketId, user) => {
  const user_data = JSON.stringify({ id: user });
  return { auth: sign(`${socketId}::user::${user_data}`), user_data };
};

const defaults = (socketId, channel) => {
  if (channel.startsWith('presence-')) {
    const channel_data = JSON.stringify({ user_id: 'subscriber' });
    return { auth: sign(`${socketId}:${channel}:${channel_data}`), channel_data };
  }
  return { auth: channel.startsWith('private-') ? sign(`${socketId}:${channel}`) : '' };
};

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const subscriber = await Subscriber.connect();
  for (const name of process.argv.slice(2)) {
    await (name.startsWith('@') ? subscriber.signIn(name.slice(1)) : subscriber.subscribe(name));
  }
  console.log(JSON.stringify({ event: 'ready', socket_id: subscriber.socketId }));
  for (;;) {
    const message = await subscriber.next().catch(() => process.exit(0));
    console.log(JSON.stringify(message));
    if (message.event === 'closed') process.exit(0);
  }
}
