// The application beside the suite: authorizes, publishes, and serves pages to browsers.

import crypto from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import nacl from 'tweetnacl';

const [ID, KEY, SECRET] = ['1', 'app-key', 'app-secret'];
const HERE = path.dirname(fileURLToPath(import.meta.url));
const MASTER = Buffer.alloc(32, 7);
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.html': 'text/html' };

const hmac = (text) => crypto.createHmac('sha256', SECRET).update(text).digest('hex');
const channelKey = (channel) => crypto.createHash('sha256').update(channel).update(MASTER).digest();

/** The answer to a request to join a channel; the user is in a cookie or a parameter in reality. */
function authorize({ socket_id, channel_name, user = 'ann' }) {
  if (channel_name.includes('forbidden')) return null;
  const secret = channel_name.includes('forged') ? 'guess' : '';
  if (channel_name.startsWith('presence-')) {
    const channel_data = JSON.stringify({ user_id: user, user_info: { name: user.toUpperCase() } });
    return { auth: `${KEY}:${hmac(`${socket_id}:${channel_name}:${channel_data}`)}`, channel_data };
  }
  const answer = { auth: `${KEY}:${hmac(`${secret}${socket_id}:${channel_name}`)}` };
  if (channel_name.startsWith('private-encrypted-')) {
    answer.shared_secret = channelKey(channel_name).toString('base64');
  }
  return answer;
}

function signIn({ socket_id, user = 'ann', watch }) {
  const watchlist = watch ? [watch] : [];
  const user_data = JSON.stringify({ id: user, user_info: { name: user.toUpperCase() }, watchlist });
  return { auth: `${KEY}:${hmac(`${socket_id}::user::${user_data}`)}`, user_data };
}

function encrypted(channel, data) {
  const nonce = nacl.randomBytes(24);
  const box = nacl.secretbox(Buffer.from(data), nonce, channelKey(channel));
  const base64 = (bytes) => Buffer.from(bytes).toString('base64');
  return JSON.stringify({ nonce: base64(nonce), ciphertext: base64(box) });
}

/** A signed request of the HTTP API. */
async function request(http, target, content) {
  const body = JSON.stringify(content);
  const query = new URLSearchParams({
    auth_key: KEY,
    auth_timestamp: String(Math.floor(Date.now() / 1000)),
    auth_version: '1.0',
    body_md5: crypto.createHash('md5').update(body).digest('hex'),
  });
  const location = `/apps/${ID}${target}`;
  query.set('auth_signature', hmac(`POST\n${location}\n${query}`));
  const answer = await fetch(`http://127.0.0.1:${http}${location}?${query}`, {
    method: 'POST', body, headers: { 'Content-Type': 'application/json' },
  });
  if (!answer.ok) throw new Error(`${location}: ${answer.status} ${await answer.text()}`);
}

function publish(http, { channel, name, data, socket_id }) {
  const text = JSON.stringify(data);
  const sent = channel.startsWith('private-encrypted-') ? encrypted(channel, text) : text;
  return request(http, '/events', { name, channel, data: sent, socket_id });
}

async function content(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk;
  try {
    return JSON.parse(text);
  } catch {
    return Object.fromEntries(new URLSearchParams(text));
  }
}

/** Starts it for the suite whose HTTP API has this port. Returns `{ url, stop }`. */
export async function startApplication(http) {
  const routes = {
    '/auth': authorize,
    '/user-auth': signIn,
    '/publish': (body) => publish(http, body).then(() => ({})),
    '/terminate': ({ user }) => request(http, `/users/${user}/terminate_connections`, {}).then(() => ({})),
  };
  const server = createServer(async (incoming, response) => {
    const { pathname } = new URL(incoming.url, 'http://localhost');
    try {
      if (pathname in routes) {
        const answer = await routes[pathname](await content(incoming));
        response.writeHead(answer ? 200 : 403, { 'Content-Type': 'application/json' });
        return response.end(JSON.stringify(answer ?? { error: 'forbidden' }));
      }
      if (pathname === '/favicon.ico') return response.writeHead(204).end();
      const file = path.join(HERE, pathname === '/' ? 'page.html' : path.normalize(pathname));
      const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
      const bytes = pathname === '/' ? '<!doctype html><title>clients</title>' : await readFile(file);
      response.writeHead(200, { 'Content-Type': pathname === '/' ? 'text/html' : type });
      return response.end(bytes);
    } catch (error) {
      return response.writeHead(500).end(String(error));
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const stop = () => new Promise((done) => {
    server.closeAllConnections();
    server.close(done);
  });
  return { url: `http://127.0.0.1:${server.address().port}`, stop };
}
