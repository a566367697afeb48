#!/usr/bin/env python3
"""Writes the corpora that fuzzing starts from: what the recorded processes said, and edges."""

import hashlib
import json
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
vectors = here.parent / "crates/protocol/tests/gatewayworker/vectors.jsonl"
corpus = pathlib.Path(sys.argv[1])

values = [
    b'a:2:{i:0;O:1:"A":1:{s:4:"\0A\0x";d:0.1;}i:1;r:2;}',
    b'a:3:{s:1:"a";a:1:{i:0;i:1;}s:1:"b";R:2;s:2:"05";N;}',
    b'a:2:{i:0;C:1:"A":3:{abc}i:1;E:11:"Suit:Hearts";}',
    b'a:4:{i:-5;d:INF;i:0;d:-0;i:1;d:NAN;i:2;S:2:"\\41b";}',
    b"b:0;",
    b"N;",
]
targets = [
    b"/chat?a[b][]=1&a[b][]=2&x.y=%20+z&10=x&h[=3",
    b"/a:80/?x#y",
    b"//h:80?x=1",
]
texts = [
    b'{"fields":["uid","groups"],"where":{"groups":["a",5],"connection_id":{"7":7}}}',
    b'{"group":["g",5],"exclude":{"7":null}}',
    b'[1.5,true,"05",-0,1e999,18446744073709551616,"\\ud83d\\ude00\\/"]',
]


def seed(target, data):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


for line in vectors.read_text().splitlines():
    vector = json.loads(line)
    data = bytes.fromhex(vector["hex"])
    if vector["kind"] == "register":
        seed("register_lines", data)
        texts.append(data)
    elif vector["kind"] == "reply":
        values.append(data[4:])
    else:
        seed("frame", data)
        ext, body = vector["ext_data"].encode(), vector["body"].encode()
        for part in (ext, body):
            (values if part[1:2] == b":" else texts).append(part)
        if vector["cmd"] == 205:
            # The target stands behind its own name.
            targets.append(body.split(b'"REQUEST_URI";', 1)[1].split(b'"')[1])

for value in values:
    seed("php_value", value)
    header = bytes(23) + len(value).to_bytes(4, "big")
    seed("frame", (28 + len(value)).to_bytes(4, "big") + b"\x09" + header[1:] + value)
    seed("frame", (28 + len(value)).to_bytes(4, "big") + b"\x05" + header[1:-4] + bytes(4) + value)
for text in texts:
    seed("json", text)
for target in targets:
    seed("parse_str", target)
    seed("parse_str", target.partition(b"?")[2])
