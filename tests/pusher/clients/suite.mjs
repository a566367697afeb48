// The suite with `--app pusher`: its processes on free ports, one worker and one gateway or several.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const SETTINGS = `
[[pusher.app]]
id = "1"
key = "app-key"
secret = "app-secret"
client_messages = true

[[pusher.app]]
id = "2"
key = "disabled-key"
secret = "other-secret"
enabled = false

[[pusher.app]]
id = "3"
key = "origin-key"
secret = "third-secret"
allowed_origins = ["https://example.com"]

[[pusher.app]]
id = "4"
key = "small-key"
secret = "fourth-secret"
max_connections = 1

[[pusher.app]]
id = "5"
key = "strict-key"
secret = "fifth-secret"
authorization_timeout = 1
`;

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  for (const server of servers) await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const ports = servers.map((server) => server.address().port);
  for (const server of servers) await new Promise((done) => server.close(done));
  return ports;
}

async function until(what, holds) {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

class Process {
  constructor(program, args, admin, logs, name = program) {
    Object.assign(this, { program, args, admin, logs, name });
  }

  start() {
    const log = openSync(path.join(this.logs, `${this.name}.log`), 'a');
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GW_')));
    const binary = path.join(process.env.SUITE_BIN, this.program);
    const args = [...this.args, '--admin-listen', `127.0.0.1:${this.admin}`];
    this.child = spawn(binary, args, { env, stdio: ['ignore', log, log] });
  }

  ready() {
    return until(`${this.name} is ready`, async () => {
      if (this.child.exitCode !== null) throw new Error(`${this.name} has ended: see ${this.logs}`);
      const answer = await fetch(`http://127.0.0.1:${this.admin}/readyz`).catch(() => null);
      return answer?.ok;
    });
  }

  /** Ends it, and waits for that. */
  async stop(signal = 'SIGTERM') {
    this.child.kill(signal);
    await until(`${this.name} has ended`, () => this.child.exitCode !== null || this.child.signalCode !== null);
  }
}

/** Starts it. `gateway` and `port` are those of the first of `gateways` and `ports`. */
export async function startSuite(gatewayFlags = [], { gateways: count = 1 } = {}) {
  const logs = mkdtempSync(path.join(process.env.CLIENTS_LOGS ?? tmpdir(), 'suite-'));
  mkdirSync(logs, { recursive: true });
  const settings = path.join(logs, 'worker.toml');
  writeFileSync(settings, SETTINGS);
  const [register, http, ...free] = await freePorts(4 + 3 * count);
  const at = (port) => `127.0.0.1:${port}`;
  const known = ['--register-address', at(register)];
  const threads = ['--no-web', '--threads', '2', '--connections-per-thread', '1', '--grace', '2'];
  const ports = free.splice(0, count);
  const gateways = ports.map((port, at) => {
    const listen = ['--listen', `ws://127.0.0.1:${port}`, '--lan-ip', '127.0.0.1', '--lan-port', String(free.pop())];
    const name = at === 0 ? 'gateway' : `gateway-${at + 1}`;
    return new Process('gateway', [...listen, ...threads, ...known, ...gatewayFlags], free.pop(), logs, name);
  });
  const app = ['--app', 'pusher', '--config', settings, '--http-listen', at(http), '--presence-grace', '1'];
  const processes = {
    register: new Process('register', ['--listen', at(register)], free.pop(), logs),
    worker: new Process('business-worker', [...app, ...known], free.pop(), logs),
  };
  const all = [processes.register, ...gateways, processes.worker];
  all.forEach((each) => each.start());
  await Promise.all(all.map((each) => each.ready()));
  const stop = async () => {
    for (const each of all.toReversed()) {
      if (each.child.exitCode === null && each.child.signalCode === null) await each.stop();
    }
  };
  return { ...processes, gateway: gateways[0], gateways, port: ports[0], ports, http, stop };
}
