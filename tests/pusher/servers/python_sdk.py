"""PyPI's `pusher`, the server SDK, against the suite."""

import json
import os
import re
import subprocess
import unittest

import pusher

HERE = os.path.dirname(os.path.abspath(__file__))
KEY, SECRET = os.environ["PUSHER_KEY"], os.environ["PUSHER_SECRET"]


def client(secret=SECRET):
    port = int(os.environ["PUSHER_HTTP_PORT"])
    return pusher.Pusher("1", KEY, secret, ssl=False, host="127.0.0.1", port=port)


class Subscriber:
    """subscriber.mjs, whose lines are messages."""

    def __init__(self, *channels):
        command = ["node", os.path.join(os.environ["SUBSCRIBER"], "subscriber.mjs"), *channels]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.socket_id = self.next("ready")["socket_id"]

    def next(self, event):
        for line in self.process.stdout:
            message = json.loads(line)
            if message["event"] == event:
                return message
        raise AssertionError(f"no {event}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class PythonSdk(unittest.TestCase):
    def test_trigger_reaches_others_than_the_excluded_client(self):
        with Subscriber("private-py", "py") as one, Subscriber("py") as two:
            self.assertEqual(client().trigger(["private-py", "py"], "e", {"x": 1}, one.socket_id), {})
            self.assertEqual(json.loads(two.next("e")["data"]), {"x": 1})
            client().trigger("py", "last", "text")
            self.assertEqual(one.next("last")["data"], "text")

    def test_documented_options_are_those_of_this_api(self):
        with open(os.environ["PUSHER_DOCUMENT"]) as document:
            row = re.search(r"^\| Python \| `(.*)` \|$", document.read(), re.MULTILINE)[1]
        names = {"pusher": pusher, "id": "1", "key": KEY, "secret": SECRET}
        made = eval(row.replace("8080", os.environ["PUSHER_HTTP_PORT"]), names)
        self.assertEqual(made.trigger("a", "e", {}), {})

    def test_batch_and_queries(self):
        with Subscriber("py-c") as subscriber:
            batch = [{"channel": "py-c", "name": f"e{at}", "data": at} for at in range(3)]
            self.assertEqual(client().trigger_batch(batch), {})
            for at in range(3):
                self.assertEqual(subscriber.next(f"e{at}")["data"], str(at))
            self.assertEqual(client().channels_info("py-"), {"channels": {"py-c": {}}})
            info = client().channel_info("py-c", ["subscription_count"])
            self.assertEqual(info, {"occupied": True, "subscription_count": 1})

    def test_user_is_sent_to_and_terminated(self):
        with Subscriber("@py-user") as subscriber:
            client().send_to_user("py-user", "e", {"x": 1})
            self.assertEqual(json.loads(subscriber.next("e")["data"]), {"x": 1})
            client().terminate_user_connections("py-user")
            self.assertEqual(subscriber.next("closed")["code"], 4009)

    def test_refusal_is_shown(self):
        with self.assertRaisesRegex(pusher.errors.PusherBadAuth, "Invalid signature"):
            client("guess").trigger("a", "e", {})

    def test_webhook_is_valid(self):
        with open(os.environ["WEBHOOKS"]) as file:
            line = next(line for line in file if "cache-node" in line)
        received = json.loads(line)
        headers, body = received["headers"], received["body"]
        key, signature = headers["X-Pusher-Key"], headers["X-Pusher-Signature"]
        self.assertEqual(client().validate_webhook(key, signature, body), json.loads(body))
        self.assertIsNone(client().validate_webhook(key, signature, body + " "))


if __name__ == "__main__":
    unittest.main()
