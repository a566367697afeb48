// A client of the gateway with nothing but Node: prints "open", and each short text message.
//
//   node receiver.mjs PORT

import { randomBytes } from 'node:crypto';
import { request } from 'node:http';

const [port] = process.argv.slice(2);
const headers = {
  Connection: 'Upgrade', Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
};
request({ port, host: '127.0.0.1', headers })
  .on('upgrade', (_, socket, head) => {
    let bytes = head;
    const take = () => {
      while (bytes.length >= 2 && bytes.length >= 2 + bytes[1]) {
        const end = 2 + bytes[1];
        if (bytes[0] === 0x81) console.log(bytes.subarray(2, end).toString());
        bytes = bytes.subarray(end);
      }
    };
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      take();
    });
    console.log('open');
    take();
    process.on('SIGTERM', () => process.exit(0));
  })
  .end();
