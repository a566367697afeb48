// The client: options, channels, the user, and what is sent.

import { authorizer } from './authorize.js';
import { Channel, PresenceChannel } from './channel.js';
import { Connection } from './connection.js';
import { call, Emitter } from './emitter.js';
import { readPosition, write } from './frame.js';
import { SendQueue } from './queue.js';
import { User } from './user.js';

const PROTOCOL = 7;
const VERSION = '0.1.0';
const USER_CHANNEL = '#server-to-user-';

/** The servers as URLs: those of `hosts`, or the one of the options of pusher-js. */
function urls(key, { hosts, wsHost, wsPort = 80, wssPort = 443, wsPath = '', forceTLS }) {
  const secure = globalThis.location?.protocol === 'https:' || (forceTLS ?? true);
  const scheme = secure ? 'wss' : 'ws';
  const given = hosts ?? [`${wsHost}:${secure ? wssPort : wsPort}`];
  if (given.length === 0 || (!hosts && !wsHost)) throw new TypeError('no server: set wsHost or hosts');
  return given.map((host) => {
    const url = new URL(/^wss?:/.test(host) ? host : `${scheme}://${host}`);
    url.pathname = `${url.pathname.replace(/\/$/, '')}${wsPath}/app/${encodeURIComponent(key)}`;
    url.search = `?protocol=${PROTOCOL}&client=push-suite-client&version=${VERSION}&flash=false`;
    return url.href;
  });
}

/** The function that authorizes channels; also by the options that pusher-js had before version 7. */
function channelAuthorizer({ channelAuthorization, authEndpoint = '/pusher/auth', auth, authorizer: custom }) {
  const options = { endpoint: authEndpoint, ...(channelAuthorization ?? auth) };
  if (custom) {
    options.customHandler = ({ socketId, channelName }, done) =>
      custom({ name: channelName }, options).authorize(socketId, done);
  }
  return authorizer(options);
}

export class Client extends Emitter {
  #channels = new Map();
  #options;
  #queue;
  #services;

  /** Connects to the app with this key. `index.d.ts` describes the options. */
  constructor(key, options = {}) {
    super();
    this.key = key;
    this.#options = options;
    this.connection = new Connection({
      activityTimeout: 120_000,
      pongTimeout: 30_000,
      openTimeout: 10_000,
      WebSocket: globalThis.WebSocket,
      ...options,
      urls: urls(key, options),
      onConnected: () => this.#connected(),
      onLost: () => this.#lost(),
      onFrame: (frame) => this.#received(frame),
    });
    this.#queue = new SendQueue(options.sendQueue, {
      isReady: (name) => this.#channels.get(name)?.subscribed ?? false,
      send: (text) => this.connection.writeIfFree(text),
    });
    this.#services = this.#serve(options);
    this.user = new User(this.#services);
    this.connect();
  }

  /** The calls for channels and the user. */
  #serve(options) {
    const { onGap, onRecovered, userAuthentication } = options;
    return {
      socketId: () => this.connection.socket_id,
      send: (event, data) => this.connection.send(event, data),
      trigger: (channel, event, data) => this.#queue.offer(channel, write(event, data, channel)),
      subscribe: (name) => this.subscribe(name),
      unsubscribe: (name) => this.unsubscribe(name),
      authorize: channelAuthorizer(options),
      authenticate: authorizer({ endpoint: '/pusher/user-auth', ...userAuthentication }),
      userId: () => this.user.user_data?.id ?? null,
      fail: (error) => this.connection.emit('error', { type: error.type ?? 'Error', error }),
      onGap: (name, reason) => call(onGap, null, [name, reason]),
      onRecovered: (name, count) => call(onRecovered, null, [name, count]),
      onSubscribed: () => this.#queue.release(),
      keep: (channel, position) => {
        if (this.#channels.get(channel.name) === channel) this.#keep(channel.name, position);
      },
    };
  }

  connect() {
    this.connection.connect();
  }

  /** Closes the connection. Channels stay, and are subscribed again after `connect`. */
  disconnect() {
    this.connection.disconnect();
    this.#queue.clear();
  }

  /** The channel with this name, subscribed to as soon as there is a connection. */
  subscribe(name) {
    if (name.startsWith('private-encrypted-')) throw new Error(`encrypted channels are not supported: ${name}`);
    const channel = this.#channels.get(name) ?? this.#add(name);
    channel.subscribe();
    return channel;
  }

  #keep(name, position) {
    const { positions } = this.#options;
    call(positions?.set, positions, [name, position]);
  }

  #add(name) {
    const Kind = name.startsWith('presence-') ? PresenceChannel : Channel;
    const channel = new Kind(name, this.#services, readPosition(this.#options.positions?.get(name)));
    this.#channels.set(name, channel);
    return channel;
  }

  /** Leaves a channel, and forgets its position and the events that wait for it. */
  unsubscribe(name) {
    const channel = this.#channels.get(name);
    if (!channel) return;
    this.#channels.delete(name);
    const isKnown = channel.subscribed || channel.subscription_pending;
    if (isKnown) this.connection.send('pusher:unsubscribe', { channel: name });
    channel.lose();
    this.#queue.clear(name);
    this.#keep(name, null);
  }

  channel(name) {
    return this.#channels.get(name);
  }

  allChannels() {
    return [...this.#channels.values()];
  }

  /** The form in which Laravel Echo looks for them. */
  get channels() {
    return { channels: Object.fromEntries(this.#channels) };
  }

  /** Signs in as the user that `userAuthentication` states, on this connection and later ones. */
  signin() {
    this.user.signin();
  }

  /** Sends an event as it is; returns whether that was possible. */
  send_event(event, data, channel) {
    return this.connection.send(event, data, channel);
  }

  #connected() {
    // The channel of the user is refused before the user is signed in.
    for (const channel of this.#channels.values()) if (!channel.name.startsWith(USER_CHANNEL)) channel.subscribe();
    this.user.connected();
  }

  #lost() {
    for (const channel of this.#channels.values()) channel.lose();
    this.user?.lose();
  }

  #received(frame) {
    const { event, channel, data } = frame;
    this.user.receive(frame);
    const also = () => event.startsWith('pusher_internal:') || this.emit(event, data);
    const to = this.#channels.get(channel);
    if (to) to.receive(frame, also);
    else also();
  }
}
