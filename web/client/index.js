// The client of push-suite: the Pusher protocol, with recovery of missed messages.

export { Client, Client as default } from './client.js';
export { StoredPositions } from './positions.js';
