// The types accept what docs/javascript.md shows, and refuse mistakes.

import Client, { Client as Named, StoredPositions, type GapReason, type Position } from 'push-suite-client';

const client: Named = new Client('app-key', {
  hosts: ['push-1.example.com'],
  channelAuthorization: {
    endpoint: '/auth',
    headersProvider: () => ({ Authorization: 'Bearer a' }),
    customHandler: async ({ socketId, channelName }) => ({ auth: `${socketId}:${channelName}` }),
  },
  userAuthentication: { customHandler: (_, callback) => callback(null, { auth: 'a', user_data: '{}' }) },
  token: async ({ expired }) => (expired ? 'new' : null),
  onGap: (channel: string, reason: GapReason) => console.log(channel, reason === 'trimmed'),
  onRecovered: (channel, count) => console.log(channel, count.toFixed()),
  positions: new StoredPositions(sessionStorage),
  sendQueue: { limit: 10, policy: 'drop-oldest' },
  cluster: '',
});

const room = client.subscribe('presence-room');
room.bind('client-typing', (data, metadata) => console.log(data.name, metadata?.user_id, metadata?.position?.offset));
const members: number = room.members.count;
const position: Position | null = client.subscribe('news').position;
const sent: boolean = room.trigger('client-typing', { members, position });
client.connection.bind('state_change', ({ current }) => console.log(current, client.connection.state === 'unavailable', sent));
client.user.watchlist.bind_global((event, data) => console.log(event, data));
client.user.signinDonePromise.then(() => client.user.user_data?.id);

// @ts-expect-error: no such policy
new Client('app-key', { hosts: [], sendQueue: { policy: 'none' } });
// @ts-expect-error: a public channel has no members
client.subscribe('news').members;
// @ts-expect-error: read only
client.connection.state = 'connected';
