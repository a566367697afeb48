// Starts the real binaries on free ports; stops and restarts them.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const BINARIES = ['register', 'gateway', 'business-worker', 'gwctl'];
const READY_WITHIN_MS = 30_000;
const GONE_WITHIN_MS = 15_000;
const POLL_MS = 50;

/** Folder of the binaries: `$SUITE_BIN`, else a release build, else a debug build. */
function binaries() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target');
  const places = process.env.SUITE_BIN
    ? [process.env.SUITE_BIN]
    : [path.join(target, 'release'), path.join(target, 'debug')];
  const found = places.find((place) => BINARIES.every((name) => existsSync(path.join(place, name))));
  if (!found) throw new Error(`no ${BINARIES.join(', ')} in ${places.join(' or ')}: cargo build --release`);
  return found;
}

/** Distinct ports that are currently free. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve, reject) => {
          const server = createServer().once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** One process of the suite. */
class Process {
  #command;
  #args;
  #admin;
  #child = null;
  #log = '';

  constructor(command, args, adminPort) {
    this.#command = command;
    this.#args = [...args, '--admin-listen', `127.0.0.1:${adminPort}`];
    this.#admin = `http://127.0.0.1:${adminPort}/readyz`;
  }

  get pid() {
    return this.#child?.pid;
  }

  /** The value of a counter or gauge. */
  async metric(name) {
    const text = await (await fetch(new URL('metrics', this.#admin))).text();
    const line = text.split('\n').find((each) => each.startsWith(`${name} `));
    return line && Number(line.split(' ')[1]);
  }

  async start() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GW_')));
    const child = spawn(this.#command, this.#args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk) => {
      this.#log = (this.#log + chunk).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => keep(`${error}\n`));
    this.#child = child;
    await this.#until('ready', READY_WITHIN_MS, async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(this.#report('ended at once'));
      return (await fetch(this.#admin).catch(() => null))?.ok;
    });
  }

  /** Stops the process and waits until it has exited. */
  async stop(signal = 'SIGTERM') {
    const child = this.#child;
    if (!child) return;
    const gone = () => child.exitCode !== null || child.signalCode !== null;
    if (!gone()) child.kill(signal);
    await this.#until('gone', GONE_WITHIN_MS, async () => gone()).catch((error) => {
      child.kill('SIGKILL');
      throw error;
    });
    this.#child = null;
  }

  async #until(what, withinMs, isSo) {
    const deadline = Date.now() + withinMs;
    while (!(await isSo())) {
      if (Date.now() > deadline) throw new Error(this.#report(`not ${what} in ${withinMs} ms`));
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  #report(what) {
    return `${path.basename(this.#command)} ${this.#args.join(' ')}: ${what}\n${this.#log}`;
  }
}

/**
 * Starts register, gateways and worker. Returns `{ url, urls, register, gateway, gateways, stop }`, of
 * which `url` and `gateway` are those of the first; `gateway` is null if `$CHAT_URL` names a running chat, which
 * cannot be restarted. The gateways get these flags, and know each other.
 */
export async function startSuite(gatewayFlags = [], { gateways: count = 1 } = {}) {
  if (process.env.CHAT_URL) return { url: process.env.CHAT_URL, gateway: null, stop: async () => {} };
  const bin = binaries();
  const [register, ...ports] = await freePorts(3 + 3 * count);
  const at = (port) => `127.0.0.1:${port}`;
  const known = ['--register-address', at(register)];
  const take = () => ports.pop();
  const chats = Array.from({ length: count }, take);
  const gateways = chats.map((chat) => {
    const others = chats.filter((each) => each !== chat).flatMap((each) => ['--web-failover', `ws://${at(each)}`]);
    const listens = ['--listen', `ws://${at(chat)}`, '--lan-ip', '127.0.0.1', '--lan-port', String(take())];
    return new Process(path.join(bin, 'gateway'), [...listens, ...known, ...others, ...gatewayFlags], take());
  });
  const processes = [
    new Process(path.join(bin, 'register'), ['--listen', at(register)], take()),
    ...gateways,
    new Process(path.join(bin, 'business-worker'), ['--app', 'chat', ...known], take()),
  ];
  const stop = async () => {
    for (const each of processes.toReversed()) await each.stop();
  };
  try {
    // A gateway is ready once a worker is linked, and a worker once a gateway is.
    await Promise.all(processes.map((each) => each.start()));
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
  const urls = chats.map((chat) => `http://${at(chat)}/`);
  return { url: urls[0], urls, register: at(register), gateway: gateways[0], gateways, stop };
}

/** Starts `gwctl dashboard` for a suite. Returns `{ url, stop }`; the URL has the token. */
export async function startDashboard({ register }, flags = []) {
  const args = ['dashboard', '--register-address', register, '--listen', '127.0.0.1:0', ...flags];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GW_')));
  const child = spawn(path.join(binaries(), 'gwctl'), args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = () => child.kill();
  const url = await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      const found = /http:\S+/.exec(text);
      if (found) resolve(found[0]);
    });
    child.on('exit', (code) => reject(new Error(`gwctl dashboard ended with ${code}: ${text}`)));
  });
  return { url, stop };
}
