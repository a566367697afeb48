// A client of the chat with nothing but Node: enters the lobby, and prints each message.
//
//   node page.mjs PORT

import { randomBytes } from 'node:crypto';
import { request } from 'node:http';

const [port] = process.argv.slice(2);
const headers = {
  Connection: 'Upgrade', Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
};

// A text frame of a client: masked with zeros.
const frame = (text) => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

request({ port, host: '127.0.0.1', headers })
  .on('upgrade', (_, socket, head) => {
    socket.on('data', (chunk) => console.log(chunk.toString('latin1')));
    console.log(head.toString('latin1'));
    socket.write(frame(JSON.stringify({ type: 'login', client_name: 'ann', room_id: 'lobby' })));
    process.on('SIGTERM', () => process.exit(0));
  })
  .end();
