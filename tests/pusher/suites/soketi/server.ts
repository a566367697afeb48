// In place of soketi's `src/server.ts`: a server of its tests is a suite of push-suite. Its options
// become the settings file of a worker, as far as there are such settings. soketi has one port for
// clients and for back ends; so a proxy in front of both listeners tells them apart by the path.

import { ChildProcess, spawn } from 'child_process';
import { mkdtempSync, openSync, writeFileSync } from 'fs';
import { get, globalAgent } from 'http';
import { AddressInfo, connect, createServer, Server as Listener, Socket } from 'net';
import { tmpdir } from 'os';
import { join } from 'path';

const PusherJS = require('pusher-js');

const METRICS = 9601;
const HEADERS = /^x-pusher-/i;

type Options = Record<string, any>;

/** Sets `a.0.b` of an option as soketi does. */
function set(options: Options, name: string, value: any): void {
    const keys = name.split('.');
    const last = keys.pop();
    let at = options;
    for (const key of keys) at = at[key] = at[key] ?? {};
    at[last] = value;
}

const text = (value: any) => JSON.stringify(String(value));

/** An app as TOML. */
function settings({ appManager, eventLimits, presence, userAuthenticationTimeout }: Options): string {
    const app = appManager.array.apps[0];
    const bytes = (size: number, least: number) => Math.max(least, Math.floor(size * 1024));
    const lines = [
        '[[pusher.app]]',
        `id = ${text(app.id)}`,
        `key = ${text(app.key)}`,
        `secret = ${text(app.secret)}`,
        `enabled = ${app.enabled}`,
        `client_messages = ${app.enableClientMessages}`,
        `client_messages_per_second = ${app.maxClientEventsPerSecond}`,
        `max_connections = ${Math.max(0, app.maxConnections)}`,
    ];
    if (eventLimits?.maxPayloadInKb) lines.push(`max_event_size = ${bytes(eventLimits.maxPayloadInKb, 1)}`);
    if (presence?.maxMemberSizeInKb) lines.push(`max_user_info_size = ${bytes(presence.maxMemberSizeInKb, 2)}`);
    if (app.enableUserAuthentication) lines.push(`authorization_timeout = ${userAuthenticationTimeout / 1000}`);
    for (const { url, event_types, filter, headers } of app.webhooks ?? []) {
        if (!url) continue;
        lines.push('[[pusher.app.webhook]]', `url = ${text(url)}`, `events = ${JSON.stringify(event_types)}`);
        if (filter?.channel_name_starts_with) lines.push(`channel_prefix = ${text(filter.channel_name_starts_with)}`);
        if (filter?.channel_name_ends_with) lines.push(`channel_suffix = ${text(filter.channel_name_ends_with)}`);
        // Those of the suite itself are refused in the settings.
        const own = Object.entries(headers ?? {}).filter(([name]) => !HEADERS.test(name));
        if (own.length) lines.push(`headers = { ${own.map(([name, value]) => `${name} = ${text(value)}`).join(', ')} }`);
    }
    return lines.join('\n') + '\n';
}

async function freePorts(count: number): Promise<number[]> {
    const servers = Array.from({ length: count }, () => createServer());
    await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))));
    const ports = servers.map((server) => (server.address() as AddressInfo).port);
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
    return ports;
}

/** Whether the answer of an admin page is 200. */
function answers(port: number, path: string): Promise<boolean> {
    return new Promise((done) => {
        get(`http://127.0.0.1:${port}${path}`, (answer) => {
            answer.resume();
            done(answer.statusCode === 200);
        }).on('error', () => done(false));
    });
}

export class Server {
    public options: Options = {
        port: 6001,
        adapter: { driver: 'local', redis: {}, nats: {} },
        cache: { driver: 'memory' },
        presence: {},
        channelLimits: {},
        eventLimits: {},
        appManager: { array: { apps: [{
            id: 'app-id', key: 'app-key', secret: 'app-secret', enabled: true, enableClientMessages: false,
            maxConnections: -1, maxClientEventsPerSecond: 10, webhooks: [],
        }] } },
    };

    private processes: ChildProcess[] = [];
    private sockets = new Set<Socket>();
    private front: Listener;

    constructor(options: Options) {
        Object.entries(options).forEach(([name, value]) => set(this.options, name, value));
    }

    async start(ready: (server: Server) => void): Promise<void> {
        const folder = mkdtempSync(join(process.env.SUITE_LOGS ?? tmpdir(), 'suite-'));
        const [register, clients, inner, http, a, b] = await freePorts(6);
        const at = (port: number) => `127.0.0.1:${port}`;
        writeFileSync(join(folder, 'worker.toml'), settings(this.options));
        // Ready one after the other, since what is not there yet is tried again seconds later.
        const run = async (name: string, admin: number, ...flags: string[]) => {
            const log = openSync(join(folder, `${name}.log`), 'a');
            const all = [...flags, '--admin-listen', at(admin)];
            this.processes.push(spawn(join(process.env.SUITE_BIN, name), all, { stdio: ['ignore', log, log] }));
            while (!(await answers(admin, name === 'gateway' ? '/livez' : '/readyz'))) {
                await new Promise((wake) => setTimeout(wake, 20));
            }
        };
        const known = ['--register-address', at(register)];
        await run('register', a, '--listen', at(register));
        await run('gateway', b, ...known, '--listen', `ws://${at(clients)}`, '--lan-ip', '127.0.0.1',
            '--lan-port', String(inner), '--threads', '1', '--no-web');
        await run('business-worker', METRICS, ...known, '--app', 'pusher', '--http-listen', at(http),
            '--config', join(folder, 'worker.toml'));
        while (!(await answers(b, '/readyz'))) await new Promise((wake) => setTimeout(wake, 20));
        await this.listen(clients, http);
        ready(this);
    }

    async stop(): Promise<void> {
        // The clients of a case that has failed would connect to the server of the next one.
        PusherJS.instances.splice(0).forEach((client: any) => {
            client.connection.unbind();
            client.disconnect();
        });
        // So would the connections of back ends, which Node keeps.
        globalAgent.destroy();
        this.sockets.forEach((socket) => socket.destroy());
        await new Promise((done) => this.front.close(done));
        await Promise.all(this.processes.map((child) => new Promise((done) => {
            child.on('exit', done);
            child.kill('SIGKILL');
        })));
    }

    private listen(clients: number, http: number): Promise<void> {
        this.front = createServer((socket) => {
            this.keep(socket);
            socket.once('data', (first) => {
                const [, path] = first.toString('latin1').split(' ');
                const other = connect(path?.startsWith('/app/') ? clients : http, '127.0.0.1');
                this.keep(other);
                other.write(first);
                socket.pipe(other).pipe(socket);
            });
        });
        return new Promise((done) => this.front.listen(this.options.port, '127.0.0.1', done));
    }

    private keep(socket: Socket): void {
        this.sockets.add(socket);
        socket.on('error', () => socket.destroy());
        socket.on('close', () => this.sockets.delete(socket));
    }
}
