// What users of pusher-js and of Laravel Echo do: functions for Node and for browsers alike. Each
// gets `{ connect, echo, publish, terminate, kinds }`, and throws if something is not as it should be.

/** Fails unless both are the same as JSON. */
function same(actual, expected, what) {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${what}: ${is} instead of ${should}`);
}

/** The next value that `begin` passes on. */
export function next(what, begin) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`not within 30 s: ${what}`)), 30_000);
    begin((value) => {
      clearTimeout(late);
      resolve(value);
    });
  });
}

/** The code with which the connection ends next, as pusher-js reports it. */
export function closeCode(pusher) {
  return next('a close code', (done) => {
    pusher.connection.bind('error', (error) => {
      const code = error.data?.code ?? error.error?.data?.code;
      if (code) done(code);
    });
  });
}

const event = (target, name) => next(name, (done) => target.bind(name, done));
const subscribed = (channel) => event(channel, 'pusher:subscription_succeeded');
const unique = (name) => `${name}-${Math.random().toString(36).slice(2)}`;

async function connects({ connect }) {
  const pusher = await connect();
  if (!/^\d+\.\d+$/.test(pusher.connection.socket_id)) throw new Error(pusher.connection.socket_id);
  const other = await connect();
  if (other.connection.socket_id === pusher.connection.socket_id) throw new Error('the same id twice');
}

async function receivesPublicEvents({ connect, publish }) {
  const [one, two] = [await connect(), await connect()];
  const name = unique('news');
  const channels = [one.subscribe(name), two.subscribe(name)];
  await Promise.all(channels.map(subscribed));
  const received = channels.map(() => []);
  channels.forEach((channel, at) => channel.bind_global((...event) => received[at].push(event)));
  await publish({ channel: name, name: 'first', data: { text: 'héllo', list: [1, null] } });
  const socket_id = two.connection.socket_id;
  await publish({ channel: name, name: 'not-for-two', data: 1, socket_id });
  const last = channels.map((channel) => event(channel, 'last'));
  await publish({ channel: name, name: 'last', data: 'text' });
  await Promise.all(last);
  const first = ['first', { text: 'héllo', list: [1, null] }];
  same(received[0], [first, ['not-for-two', 1], ['last', 'text']], 'all but the subscription');
  same(received[1], [first, ['last', 'text']], 'its own event is left out');
  one.unsubscribe(name);
  const marker = one.subscribe(unique('marker'));
  await subscribed(marker);
  await publish({ channel: name, name: 'later', data: 2 });
  const end = event(marker, 'end');
  await publish({ channel: marker.name, name: 'end', data: 3 });
  await end;
  same(received[0].length, 3, 'events behind unsubscribe');
}

async function exchangesClientEvents({ connect }) {
  const [one, two] = [await connect(), await connect()];
  const name = unique('private-chat');
  const [mine, theirs] = [one.subscribe(name), two.subscribe(name)];
  await Promise.all([subscribed(mine), subscribed(theirs)]);
  let echoed = 0;
  mine.bind('client-typing', () => (echoed += 1));
  const typing = event(theirs, 'client-typing');
  mine.trigger('client-typing', { who: 'ann' });
  same(await typing, { who: 'ann' }, 'client event');
  const answer = event(mine, 'client-answer');
  theirs.trigger('client-answer', [1, 2]);
  same(await answer, [1, 2], 'client event');
  same(echoed, 0, 'its own client event');
}

async function seesMembers({ connect }) {
  const ann = await connect({ user: 'ann' });
  const name = unique('presence-room');
  const mine = ann.subscribe(name);
  const members = await subscribed(mine);
  same([members.count, members.me.id, members.get('ann').info.name], [1, 'ann', 'ANN'], 'alone');
  const added = event(mine, 'pusher:member_added');
  const bob = await connect({ user: 'bob' });
  const theirs = bob.subscribe(name);
  const both = await subscribed(theirs);
  same([both.count, Object.keys(both.members).toSorted()], [2, ['ann', 'bob']], 'two');
  same(await added, { id: 'bob', info: { name: 'BOB' } }, 'member_added');
  // A second tab of Bob is no other member.
  const tab = await connect({ user: 'bob' });
  same((await subscribed(tab.subscribe(name))).count, 2, 'a second tab');
  const wave = next('client-wave', (done) => mine.bind('client-wave', (data, meta) => done([data, meta])));
  theirs.trigger('client-wave', {});
  same(await wave, [{}, { user_id: 'bob' }], 'client event of a member');
  let removed = 0;
  mine.bind('pusher:member_removed', () => (removed += 1));
  tab.disconnect();
  const left = event(mine, 'pusher:member_removed');
  bob.unsubscribe(name);
  same(await left, { id: 'bob', info: { name: 'BOB' } }, 'member_removed');
  same([removed, mine.members.count], [1, 1], 'alone again');
}

async function decryptsEvents({ connect, publish }) {
  const pusher = await connect({ encrypted: true });
  const channel = pusher.subscribe(unique('private-encrypted-safe'));
  await subscribed(channel);
  const received = event(channel, 'secret');
  await publish({ channel: channel.name, name: 'secret', data: { code: 42 } });
  same(await received, { code: 42 }, 'decrypted');
}

async function keepsTheLastEvent({ connect, publish, kinds }) {
  for (const kind of kinds) {
    const name = unique(kind);
    const [first, late] = [await connect({ encrypted: true }), await connect({ encrypted: true })];
    const channel = first.subscribe(name);
    await event(channel, 'pusher:cache_miss');
    for (const price of [10, 11]) {
      const received = event(channel, 'price');
      await publish({ channel: name, name: 'price', data: { price } });
      same(await received, { price }, 'a price');
    }
    const again = late.subscribe(name);
    const kept = event(again, 'price');
    await subscribed(again);
    same(await kept, { price: 11 }, 'the last price');
    const further = event(again, 'price');
    await publish({ channel: name, name: 'price', data: { price: 12 } });
    same(await further, { price: 12 }, 'the next price');
  }
}

async function watchesUsers({ connect }) {
  const [ann, bob] = [unique('ann'), unique('bob')];
  const watcher = await connect({ user: ann, watch: bob });
  const online = next('online', (done) => watcher.user.watchlist.bind('online', done));
  const offline = next('offline', (done) => watcher.user.watchlist.bind('offline', done));
  watcher.signin();
  same((await offline).user_ids, [bob], 'offline at first');
  const watched = await connect({ user: bob });
  watched.signin();
  same((await online).user_ids, [bob], 'online');
  const gone = next('offline', (done) => watcher.user.watchlist.bind('offline', done));
  watched.disconnect();
  same((await gone).user_ids, [bob], 'offline again');
}

async function signsIn({ connect, publish, terminate }) {
  const user = unique('user');
  const pusher = await connect({ user });
  pusher.signin();
  await pusher.user.signinDonePromise;
  same(pusher.user.user_data.id, user, 'signed in');
  await subscribed(pusher.user.serverToUserChannel);
  const received = event(pusher.user, 'hello');
  await publish({ channel: `#server-to-user-${user}`, name: 'hello', data: { to: user } });
  same(await received, { to: user }, 'event for the user');
  const code = closeCode(pusher);
  await terminate({ user });
  same(await code, 4009, 'terminated');
  same(pusher.connection.state, 'disconnected', 'for good');
}

async function learnsOfRefusals({ connect }) {
  const pusher = await connect();
  const forbidden = pusher.subscribe(unique('private-forbidden'));
  same((await event(forbidden, 'pusher:subscription_error')).status, 403, 'the application refuses');
  const forged = pusher.subscribe(unique('private-forged'));
  const { type, status } = await event(forged, 'pusher:subscription_error');
  same([type, status], ['AuthError', 401], 'the suite refuses');
  // pusher-js has no such channel before it is signed in, so the message is its own.
  const channel = `#server-to-user-${unique('someone')}`;
  const stolen = next('a refusal', (done) => {
    pusher.connection.bind('message', (message) => message.channel === channel && done(message.event));
  });
  pusher.send_event('pusher:subscribe', { channel, auth: '' });
  same(await stolen, 'pusher:subscription_error', 'the channel of another user');
  same(pusher.connection.state, 'connected', 'the connection stays');
  await subscribed(pusher.subscribe(unique('still-works')));
}

async function listensWithEcho({ echo, publish }) {
  for (const broadcaster of ['pusher', 'reverb']) {
    const [ann, bob] = [await echo(broadcaster, 'ann'), await echo(broadcaster, 'bob')];
    const name = unique('orders');
    const heard = (channel, of) => next(of, (done) => channel.listen(of, done));
    const ready = (channel) => next(channel.name, (done) => channel.subscribed(() => done(true)));
    const open = ann.channel(name);
    await ready(open);
    const shipped = heard(open, 'Shipped');
    await publish({ channel: name, name: 'App\\Events\\Shipped', data: { id: 7 } });
    same(await shipped, { id: 7 }, 'an event of Laravel');
    const [mine, theirs] = [ann.private(name), bob.private(name)];
    await Promise.all([ready(mine), ready(theirs)]);
    const whispered = next('whisper', (done) => theirs.listenForWhisper('typing', done));
    mine.whisper('typing', { name: 'Ann' });
    same(await whispered, { name: 'Ann' }, 'whisper');
    const literal = heard(theirs, '.plain.name');
    await publish({ channel: `private-${name}`, name: 'plain.name', data: 1 });
    same(await literal, 1, 'a literal name');
    const room = ann.join(name);
    same(await next('here', (done) => room.here(done)), [{ name: 'ANN' }], 'here');
    const joining = next('joining', (done) => room.joining(done));
    const second = bob.join(name);
    const here = await next('here', (done) => second.here(done));
    same(here.map((member) => member.name).toSorted(), ['ANN', 'BOB'], 'here');
    same(await joining, { name: 'BOB' }, 'joining');
    const leaving = next('leaving', (done) => room.leaving(done));
    bob.leave(name);
    same(await leaving, { name: 'BOB' }, 'leaving');
    const refused = next('error', (done) => ann.private(unique('forbidden')).error(done));
    same((await refused).status, 403, 'error');
  }
}

export const scenarios = {
  'connection has a socket id': connects,
  'public channel delivers events, except to the excluded client': receivesPublicEvents,
  'private channel passes client events on to the others': exchangesClientEvents,
  'presence channel has its members': seesMembers,
  'encrypted channel is decrypted by its subscriber': decryptsEvents,
  'cache channel begins with its last event': keepsTheLastEvent,
  'watchlist tells which users are online': watchesUsers,
  'user that is signed in receives its events, and is terminated': signsIn,
  'refused subscription is reported and the connection stays': learnsOfRefusals,
  'Laravel Echo listens, whispers and joins with both broadcasters': listensWithEcho,
};

/**
 * The calls of the scenarios. `make(encrypted)` is the class to use, and `Echo` Laravel's; `encrypts` says
 * whether the class has encrypted channels.
 */
export function environment({ port, application, make, Echo, extra = {}, encrypts = true }) {
  const open = [];
  const kinds = ['cache-price', 'private-cache-price', ...(encrypts ? ['private-encrypted-cache-price'] : [])];
  const post = async (path, body) => {
    const answer = await fetch(`${application}${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };
  const options = (user, watch) => ({
    wsHost: '127.0.0.1', wsPort: port, forceTLS: false, cluster: '',
    enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: { endpoint: `${application}/auth`, params: { user } },
    userAuthentication: { endpoint: `${application}/user-auth`, params: { user, watch } },
    ...extra,
  });
  return {
    kinds,
    async connect({ user = 'ann', watch = '', encrypted = false, key = 'app-key', wait = key === 'app-key' } = {}) {
      const pusher = new (make(encrypted))(key, options(user, watch));
      open.push(() => pusher.disconnect());
      if (wait) await next('connected', (done) => pusher.connection.bind('connected', done));
      return pusher;
    },
    async echo(broadcaster, user) {
      const echo = new Echo({
        ...options(user), broadcaster, key: 'app-key', Pusher: make(false), client: undefined,
        authEndpoint: `${application}/auth`, auth: { params: { user } },
      });
      open.push(() => echo.disconnect());
      return echo;
    },
    publish: (event) => post('/publish', event),
    terminate: (user) => post('/terminate', user),
    close: () => open.splice(0).forEach((close) => close()),
  };
}
