// Runs a command with a suite and an application: their ports are in its environment.

import { spawn } from 'node:child_process';
import { startApplication } from './application.mjs';
import { startSuite } from './suite.mjs';

const suite = await startSuite();
const application = await startApplication(suite.http);
const env = { ...process.env, PUSHER_PORT: String(suite.port), APPLICATION: application.url };
const [command, ...args] = process.argv.slice(2);
const status = await new Promise((done) => spawn(command, args, { env, stdio: 'inherit' }).on('exit', done));
await application.stop();
await suite.stop();
process.exit(status ?? 1);
