// Receives webhooks, and appends each as a line of JSON to a file, with the headers as they were
// spelled.
//
//   node receiver.mjs PORT FILE

import fs from 'node:fs';
import http from 'node:http';

const [port, file] = process.argv.slice(2);
const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const headers = {};
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      headers[request.rawHeaders[at]] = request.rawHeaders[at + 1];
    }
    const body = Buffer.concat(parts).toString();
    fs.appendFileSync(file, JSON.stringify({ headers, body }) + '\n');
    response.end();
  });
});
server.listen(Number(port), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
