// A receiver of webhooks made of the npm packages standardwebhooks and cloudevents.
//
//   node receiver.mjs SECRET     in the folder of node_modules; prints its port
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { Webhook } = require('standardwebhooks');
const { HTTP } = require('cloudevents');
const webhook = new Webhook(process.argv[2]);

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    try {
      webhook.verify(body, request.headers);
    } catch {
      response.writeHead(401).end();
      return;
    }
    const event = HTTP.toEvent({ headers: request.headers, body });
    event.validate();
    const { id, type, source, subject, time, gwuid, gwseq, data } = event;
    response.setHeader('content-type', 'application/json');
    const answers = {
      'gw.connect': { uid: 'ann' },
      'gw.message': { reply: [{ data: { id, type, source, subject, time, gwuid, gwseq, data } }] },
    };
    response.end(JSON.stringify(answers[type] ?? {}));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
