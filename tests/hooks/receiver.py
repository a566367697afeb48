"""A receiver of webhooks made of the PyPI packages standardwebhooks and cloudevents.

usage: receiver.py SECRET     prints its port
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

WEBHOOK = Webhook(sys.argv[1])


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            WEBHOOK.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401, b"")
        event = from_http_event(HTTPMessage(dict(self.headers), body))
        kind = event.get_type()
        if kind == "gw.connect":
            answer = {"uid": "ann"}
        elif kind == "gw.message":
            seen = {
                "id": event.get_id(),
                "type": kind,
                "source": event.get_source(),
                "subject": event.get_subject(),
                "time": event.get_time().isoformat(),
                "gwuid": event.get_extension("gwuid"),
                "gwseq": event.get_extension("gwseq"),
                "data": event.get_data(),
            }
            answer = {"reply": [{"data": seen}]}
        else:
            answer = {}
        self.answer(200, json.dumps(answer).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
