// Subscribes to a public channel with pusher-js, prints a line, and stays until it is stopped.
//
//   node subscriber.mjs PORT CHANNEL

import Pusher from 'pusher-js';

const [port, channel] = process.argv.slice(2);
const pusher = new Pusher('app-key', {
  wsHost: '127.0.0.1', wsPort: Number(port), forceTLS: false, cluster: '', enabledTransports: ['ws'],
});
pusher.subscribe(channel).bind('pusher:subscription_succeeded', () => console.log('subscribed'));
