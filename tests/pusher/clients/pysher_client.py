"""Pysher, the client of PyPI, against the suite: subscribes to channels of each kind, and receives."""

import json
import os
import queue
import sys
import urllib.request

import pysher

PORT, APPLICATION = int(os.environ["PUSHER_PORT"]), os.environ["APPLICATION"]
WAIT = 30
SUCCEEDED = "pusher_internal:subscription_succeeded"


class Client(pysher.Pusher):
    """Records events of all channels: Pysher may receive one before a callback is bound to it."""

    def __init__(self, user):
        self.events = queue.Queue()
        self.established = queue.Queue()
        super().__init__(
            "app-key",
            secret="app-secret",
            custom_host="127.0.0.1",
            port=PORT,
            secure=False,
            user_data={"user_id": user, "user_info": {"name": user.upper()}},
        )
        self.connection.bind("pusher:connection_established", self.established.put)
        self.connect()
        established = json.loads(self.established.get(timeout=WAIT))
        expect(sorted(established), ["activity_timeout", "socket_id"])

    def _connection_handler(self, event_name, data, channel_name):
        self.events.put((channel_name, event_name, data))

    def expect(self, channel, name):
        """The data of the next event, which must be this one."""
        received = self.events.get(timeout=WAIT)
        expect(received[:2], (channel, name))
        return json.loads(received[2]) if isinstance(received[2], str) else received[2]

    def join(self, channel):
        self.subscribe(channel)
        return self.expect(channel, SUCCEEDED)


def publish(channel, name, data):
    body = json.dumps({"channel": channel, "name": name, "data": data}).encode()
    request = urllib.request.Request(f"{APPLICATION}/publish", body)
    urllib.request.urlopen(request, timeout=WAIT).close()


def expect(actual, expected):
    assert actual == expected, f"{actual!r} instead of {expected!r}"


ann, bob = Client("ann"), Client("bob")
for client in (ann, bob):
    expect(client.join("py-news"), {})
publish("py-news", "news", {"n": [1, "é"]})
for client in (ann, bob):
    expect(client.expect("py-news", "news"), {"n": [1, "é"]})
print("Pysher: public channel")

for client in (ann, bob):
    expect(client.join("private-py"), {})
bob.channel("private-py").trigger("client-hi", {"from": "bob"})
expect(ann.expect("private-py", "client-hi"), {"from": "bob"})
print("Pysher: private channel and client event")

expect(ann.join("presence-py")["presence"]["ids"], ["ann"])
members = bob.join("presence-py")["presence"]
expect((members["count"], sorted(members["ids"])), (2, ["ann", "bob"]))
added = ann.expect("presence-py", "pusher_internal:member_added")
expect(added, {"user_id": "bob", "user_info": {"name": "BOB"}})
bob.unsubscribe("presence-py")
removed = ann.expect("presence-py", "pusher_internal:member_removed")
expect(removed, {"user_id": "bob"})
print("Pysher: presence channel")

ann.subscribe("private-py-forged", auth="app-key:" + "0" * 64)
error = ann.expect("private-py-forged", "pusher:subscription_error")
expect((error["type"], error["status"]), ("AuthError", 401))
publish("py-news", "news", 2)
expect(ann.expect("py-news", "news"), 2)
print("Pysher: refused subscription, and the connection stays")
# Its timers are threads that would keep the process for minutes.
sys.stdout.flush()
os._exit(0)
