// Types of push-suite-client.

/** A place in the stream of a channel. Epochs are equal or not; offsets grow by one within an epoch. */
export interface Position {
  epoch: string;
  offset: number;
}

/**
 * Why messages of a channel are missing: the stream began anew (`epoch`), no longer has them
 * (`trimmed`), has too many (`limit`), is behind the client (`ahead`), cannot be read or has no history
 * (`unavailable`), or left some out (`hole`).
 */
export type GapReason = 'epoch' | 'trimmed' | 'limit' | 'ahead' | 'unavailable' | 'hole' | (string & {});

/** Beside the data of an event: the user that sent it, its position. */
export interface Metadata {
  user_id?: string;
  position?: Position;
}

export type Handler = (data: any, metadata?: Metadata) => void;
export type GlobalHandler = (event: string, data: any, metadata?: Metadata) => void;

export class Emitter {
  bind(event: string, handler: Handler, context?: unknown): this;
  bind_global(handler: GlobalHandler, context?: unknown): this;
  /** Removes the handlers to which everything applies that is given. */
  unbind(event?: string | null, handler?: Handler, context?: unknown): this;
  unbind_global(handler?: GlobalHandler): this;
  unbind_all(): this;
  emit(event: string, data?: unknown, metadata?: Metadata): this;
}

export interface AuthRequest {
  socketId: string;
  /** Absent in the request of a user. */
  channelName?: string;
}

export interface Proof {
  auth: string;
  channel_data?: string;
  user_data?: string;
}

export type AuthCallback = (error: Error | string | null, proof?: Proof | null) => void;

export interface AuthOptions {
  /** Where the request is posted as a form: `socket_id`, `channel_name`. */
  endpoint?: string;
  headers?: Record<string, string>;
  headersProvider?: () => Record<string, string>;
  params?: Record<string, string | number | boolean>;
  paramsProvider?: () => Record<string, string | number | boolean>;
  /** As of `fetch`; `include` sends cookies to another origin. */
  credentials?: RequestCredentials;
  /**
   * In place of the request: answers by the callback or by a promise. An error without a `status` is
   * final; one with 0, 429 or 500 and above is followed by another attempt, after its `retryAfter` in
   * milliseconds if it has one.
   */
  customHandler?: (request: AuthRequest, callback: AuthCallback) => void | Promise<Proof>;
}

/** Client events that wait until their channel is subscribed to. */
export interface SendQueueOptions {
  /** The most that wait; 100. */
  limit?: number;
  /** The most characters that wait together; 65,536. */
  maxLength?: number;
  /**
   * The rule for one more: it is refused (`trigger` returns false), the oldest are dropped, or nothing
   * waits at all; `refuse`.
   */
  policy?: 'refuse' | 'drop-oldest' | 'off';
  /** The most that are sent in a second once they may be; 5. */
  perSecond?: number;
}

/** Positions that outlive the client. */
export interface Positions {
  get(channel: string): Position | null | undefined;
  /** Called once the handlers of a message have run; null when the channel is left or has no position. */
  set(channel: string, position: Position | null): void;
}

export interface Options {
  /** Servers in the order in which they are tried, such as `push.example.com:443` or `wss://a.example.com`. */
  hosts?: string[];
  /** The server, if there are no `hosts`, with the options of pusher-js. */
  wsHost?: string;
  /** 80. */
  wsPort?: number;
  /** 443. */
  wssPort?: number;
  /** A path before `/app/`. */
  wsPath?: string;
  /** Whether a `host:port` is reached over TLS; true. A page of https always uses TLS. */
  forceTLS?: boolean;

  channelAuthorization?: AuthOptions;
  userAuthentication?: AuthOptions;
  /** The options of pusher-js before version 7. */
  authEndpoint?: string;
  auth?: Pick<AuthOptions, 'headers' | 'params'>;
  authorizer?: (channel: { name: string }, options: AuthOptions) => {
    authorize(socketId: string, callback: AuthCallback): void;
  };

  /**
   * The token of the handshake (`--handshake-auth jwt`), for each connection; `expired` if the server
   * has closed the last one for that reason.
   */
  token?: (request: { expired: boolean }) => string | null | undefined | Promise<string | null | undefined>;
  /** Offered in the handshake; the token goes beside it rather than in the URL. */
  subprotocol?: string;

  /** Called when every message that was missed has arrived, with their number. */
  onRecovered?: (channel: string, count: number) => void;
  /** Called once for each gap of a channel: its state is to be loaded anew. */
  onGap?: (channel: string, reason: GapReason) => void;
  positions?: Positions;
  sendQueue?: SendQueueOptions;

  /** Silence after which the server is pinged, in milliseconds; 120,000, or less if the server says so. */
  activityTimeout?: number;
  /** The time for an answer to a ping, in milliseconds; 30,000. */
  pongTimeout?: number;
  /** The time for a connection to be established, in milliseconds; 10,000. */
  openTimeout?: number;
  /** The class of sockets; that of the environment. */
  WebSocket?: unknown;
  /** Other options of pusher-js are ignored. */
  [option: string]: unknown;
}

export type State = 'initialized' | 'connecting' | 'connected' | 'unavailable' | 'disconnected' | 'failed';

/** Events: `state_change`, each state, `error`, `message`, `connecting_in` (seconds). */
export interface Connection extends Emitter {
  readonly state: State;
  readonly socket_id: string | undefined;
  connect(): void;
  disconnect(): void;
  send(event: string, data: unknown, channel?: string): boolean;
}

export interface Channel extends Emitter {
  readonly name: string;
  readonly subscribed: boolean;
  readonly subscription_pending: boolean;
  readonly subscription_count: number;
  /** Of the last message that was handled. */
  readonly position: Position | null;
  /** Sends a client event, or lets it wait; false if it was refused. The name begins with `client-`. */
  trigger(event: string, data: unknown): boolean;
}

export interface Member {
  id: string;
  info: any;
}

export interface Members {
  readonly count: number;
  readonly members: Record<string, any>;
  readonly myID: string | null;
  readonly me: Member | null;
  get(id: string): Member | null;
  each(handle: (member: Member) => void): void;
}

export interface PresenceChannel extends Channel {
  readonly members: Members;
}

export interface User extends Emitter {
  readonly user_data: { id: string; [key: string]: any } | null;
  readonly serverToUserChannel: Channel | null;
  readonly signinDonePromise: Promise<void>;
  /** Events `online` and `offline` with `{ user_ids }`. */
  readonly watchlist: Emitter;
  signin(): void;
}

export class Client extends Emitter {
  /** Connects to the app with this key. */
  constructor(key: string, options: Options);
  readonly key: string;
  readonly connection: Connection;
  readonly user: User;
  connect(): void;
  /** Closes the connection. Channels stay, and are subscribed again after `connect`. */
  disconnect(): void;
  subscribe(name: `presence-${string}`): PresenceChannel;
  subscribe(name: string): Channel;
  /** Leaves a channel, and forgets its position and the events that wait for it. */
  unsubscribe(name: string): void;
  channel(name: string): Channel | undefined;
  allChannels(): Channel[];
  readonly channels: { channels: Record<string, Channel> };
  /** Signs in as the user that `userAuthentication` states, on this connection and later ones. */
  signin(): void;
  /** Sends an event as it is; false if there is no connection. */
  send_event(event: string, data: unknown, channel?: string): boolean;
}

export default Client;

/** Keeps positions in a storage such as `sessionStorage`. */
export class StoredPositions implements Positions {
  constructor(storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>, prefix?: string);
  get(channel: string): Position | null;
  set(channel: string, position: Position | null): void;
}
