// A client with sockets, time and random numbers of the test.

import { mock, test } from 'node:test';
import { Client } from '../../../../web/client/index.js';

export class FakeSocket {
  static CONNECTING = 0;
  readyState = FakeSocket.CONNECTING;
  bufferedAmount = 0;
  sent = [];
  closed = null;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed = code;
    this.readyState = 3;
  }

  /** The server accepts the connection. */
  establish(socket_id = '1.1', activity_timeout = 120) {
    this.readyState = 1;
    this.onopen?.({});
    this.tell('pusher:connection_established', { data: JSON.stringify({ socket_id, activity_timeout }) });
  }

  tell(event, fields = {}) {
    this.onmessage?.({ data: JSON.stringify({ event, ...fields }) });
  }

  /** The server has closed it, or the network has. */
  end(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** The frames of an event that were sent. */
  of(event) {
    return this.sent.filter((each) => each.event === event).map(({ data }) => data);
  }
}

/** Lets promises that are resolved go on. */
export const settle = async () => {
  for (let turn = 0; turn < 20; turn += 1) await null;
};

/** Lets time pass step by step, so that timers see the time for which they were set. */
export function tick(ms) {
  const step = ms > 20_000 ? 100 : 1;
  for (let rest = ms; rest > 0; rest -= step) mock.timers.tick(Math.min(step, rest));
  mock.timers.tick(0);
}

/** The same, and promises go on. */
export async function pass(ms) {
  tick(ms);
  await settle();
}

/** Time in which no timer runs: each is late. */
export const asleep = (ms) => mock.timers.tick(ms);

/** A network and a page that can go away. */
function surroundings() {
  const target = new EventTarget();
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const navigator = { onLine: true };
  let listeners = 0;
  for (const each of [target, page]) {
    const [add, remove] = [each.addEventListener.bind(each), each.removeEventListener.bind(each)];
    each.addEventListener = (...args) => {
      listeners += 1;
      add(...args);
    };
    each.removeEventListener = (...args) => {
      listeners -= 1;
      remove(...args);
    };
  }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
  Object.assign(globalThis, {
    document: page,
    addEventListener: target.addEventListener,
    removeEventListener: target.removeEventListener,
  });
  return {
    listeners: () => listeners,
    network(onLine) {
      navigator.onLine = onLine;
      target.dispatchEvent(new Event(onLine ? 'online' : 'offline'));
    },
    show(visible) {
      page.visibilityState = visible ? 'visible' : 'hidden';
      page.dispatchEvent(new Event('visibilitychange'));
    },
    restore() {
      for (const name of ['document', 'addEventListener', 'removeEventListener']) delete globalThis[name];
      if (before) Object.defineProperty(globalThis, 'navigator', before);
      else delete globalThis.navigator;
    },
  };
}

/**
 * A test with `{ client(options), sockets, socket(), random(value), network(onLine), show(visible),
 * listeners() }`; random numbers are 1/2 until the test says otherwise.
 */
export function example(name, run) {
  test(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_800_000_000_000 });
    const random = mock.method(Math, 'random', () => 0.5);
    const around = surroundings();
    const sockets = [];
    const clients = [];
    class Socket extends FakeSocket {
      constructor(...args) {
        super(...args);
        sockets.push(this);
      }
    }
    const world = {
      ...around,
      sockets,
      socket: () => sockets.at(-1),
      random: (value) => random.mock.mockImplementation(() => value),
      client(options) {
        const client = new Client('key', { hosts: ['push.test'], WebSocket: Socket, ...options });
        const states = [];
        client.connection.bind('state_change', ({ current }) => states.push(current));
        clients.push(client);
        return Object.assign(client, { states });
      },
    };
    try {
      await run(world);
    } finally {
      clients.forEach((client) => client.disconnect());
      around.restore();
      mock.timers.reset();
      mock.restoreAll();
    }
  });
}
