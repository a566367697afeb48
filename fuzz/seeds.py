#!/usr/bin/env python3
"""Writes the seed corpora for fuzzing: recorded traffic and edge cases."""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import zlib

here = pathlib.Path(__file__).resolve().parent
tests = here.parent / "crates/protocol/tests"
vectors = tests / "gatewayworker/vectors.jsonl"
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
heads = [
    b"GET /chat?a=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Origin: https://here.example\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HEAD /chat.js HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
]

v2 = b"\r\n\r\n\0\r\nQUIT\n"
proxy_headers = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 4321 443\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n",
    v2 + b"\x20\0\0\0",
    v2 + b"\x21\x11\0\x11" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 16, 225, 1, 187, 4, 0, 2, 0, 0]),
    v2 + b"\x21\x21\0\x24" + bytes(range(36)),
]
# A range of addresses, and values of a header.
forwarded = [
    b"10.0.0.0/8\n203.0.113.9, 192.0.2.7:80\n10.1.1.1, [2001:db8::7]:443",
    b"::ffff:10.0.0.0/104\nunknown, _hidden, ::1",
    b'2001:db8::/32\nfor="[2001:db8::7]:47";proto=https, FOR=192.0.2.7;by="x',
]


def masked(first, payload):
    """A frame of a WebSocket client."""
    mask = bytes([7, 11, 13, 17])
    short = len(payload) < 126
    length = [0x80 | len(payload)] if short else [0x80 | 126, *len(payload).to_bytes(2, "big")]
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first, *length]) + mask + hidden


def deflated(message, level=6):
    """The payload of a compressed message."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


# Each first byte is the size of the pieces that the rest comes in.
char = "\u4f60".encode()
messages = [
    b"\x07" + masked(0x81, char) + masked(0x89, b"ping") + masked(0x88, b"\x03\xe8bye"),
    b"\x01" + masked(0x01, char[:2]) + masked(0x8A, b"") + masked(0x80, char[2:]),
    b"\xff" + masked(0x82, bytes(300)) + masked(0x02, b"a") + masked(0x80, b""),
    b"\x09" + masked(0xC1, deflated(char * 9)) + masked(0x42, deflated(b"a")) + masked(0x80, b""),
    b"\xff" + masked(0xC2, deflated(bytes(100_000))),
]
# A level, a header, and a payload.
offers = b"permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits, x; y=\"\\\"\""
compressed = [
    b"\x01permessage-deflate\n" + deflated(b"a message, a message, a message"),
    b"\x06" + offers + b"\n" + deflated(bytes(100_000)),
    b"\x09\n\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    b"\x03\n" + deflated(char * 100, 0),
]
others = [
    b"\x03one\ntwo\r\n\n",
    b"\x05\0\0\0\x06hi\0\0\0\x04\0\0\0\x05!",
]
# A layout, the size of the pieces, and frames.
device_frames = [
    b"length=u16le&offset=2\n\x03ab\x02\0hicd\0\0",
    b"length=u8&counts=frame&adjust=2&kind=text\n\x01\x03abcd\x00a",
    b"length=u24be&header=keep\n\x07\0\0\x05hello\0\xff\xff",
    b"length=u32be&counts=frame\n\x02\0\0\0\x06hi\0\0\0\x03",
]

# Messages of clients of the Pusher protocol, names of channels and a socket id.
push_api = [
    b'{"op":"send","to":{"groups":["a",7,{"base64":"/wA="}]},"exclude":{"uids":["b"]},"data":{"a":[1]}}',
    b'{"op":"send","to":{"clients":["7f0000010b5400000001"]},"base64":"/wA=","binary":false}',
    b'{"op":"close","client":"7f0000010b5400000001","code":4001,"message":{"text":"bye"}}',
    b'{"op":"revoke","uids":["a"],"issued_before":1,"ttl":60,"disconnect":false}',
    b"limit=10&after=ff00&fields=uid%2Csession&key=a+b",
]
pusher = [
    b'{"event":"pusher:ping","data":{}}',
    b'{"event":"pusher:subscribe","data":{"auth":"k1:0","channel":"presence-a",'
    b'"channel_data":"{\\"user_id\\":10}"}}',
    b'{"event":"pusher:subscribe","data":"{\\"channel\\":\\"a\\"}"}',
    b'{"event":"pusher:unsubscribe","data":{"channel":"a"}}',
    b'{"event":"pusher:signin","data":{"auth":"k1:0","user_data":"{\\"id\\":\\"1\\"}"}}',
    b'{"event":"client-e","channel":"private-a","data":{"x":[1.0,"\\ud83d"]}}',
    b"private-encrypted-cache-a",
    b"#server-to-user-ann",
    b"123456789012345678901234567890123456789.9007199254740991",
]

pusher_http = [
    b"/push/apps/1/channels/presence-a%40b/users",
    b"info[0]=a&info%5B%5D=b&Auth_Key=k&auth_timestamp=1&auth_version=1.0&auth_signature=00&a=+",
    b'{"name":"e","data":"{}","channels":["a","private-encrypted-b"],"info":"user_count"}',
    b'{"batch":[{"name":"e","data":{"x":[1.0]},"channel":"a","socket_id":"1.2"}]}',
]

# A token signed with the key of the target, and the parts of such requests and files.
signed = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE4MDAwMDAwNjB9"
signature = hmac.digest(bytes(32), signed, hashlib.sha256)
token = signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")
tokens = [
    token,
    b"GET /?token=" + token + b" HTTP/1.1\r\nAuthorization: Bearer " + token + b"\r\n\r\n",
    b"GET /?access_token=a%2Eb HTTP/1.1\r\nCookie: a=b; sid=" + token + b"\r\nOrigin: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: chat, gw.auth." + token + b"\r\n\r\n",
    b'{"sub":"ann","exp":1800000060,"iat":1.5,"nbf":0,"jti":"t","aud":["a"],"iss":"b","gw":'
    b'{"groups":["a"],"session":{"k":[1]},"expire_at":0}}',
    b'{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","alg":"ES256",'
    b'"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
    b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}',
    b"-----BEGIN PUBLIC KEY-----\n"
    b"MCowBQYDK2VwAyEAqL+sbP1x5TvElHB5D6g7Y4kV26n88BSfFCejRnRV8nY=\n"
    b"-----END PUBLIC KEY-----\n",
    b'{"revocations":[{"jti":["t"],"until":1},{"uids":["ann"],"issued_before":1,"until":2}]}',
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

refused = {"from": "10.0.0.2", "kind": "gateway", "address": "10.0.0.2:2900", "reason": "wrong_key"}
for line in (
    {"event": "refused_peers", "secret_key": "s3cret"},
    {"event": "refused_peers", "peers": [{**refused, "times": 14, "ago": 350}, {"from": "::1"}]},
):
    seed("register_lines", json.dumps(line).encode() + b"\n")

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
for line in (tests / "golden/native.txt").read_text().splitlines():
    if ": " in line and not line.startswith("#"):
        seed("native_link", bytes.fromhex(line.split(": ", 1)[1]))
for header in proxy_headers:
    seed("proxy_header", header)
for chain in forwarded:
    seed("forwarded", chain)
for head in heads:
    seed("http_head", head)
for message in messages:
    seed("websocket", message)
for payload in compressed:
    seed("deflate", payload)
# The first byte selects the content type.
for text in [
    b'\0{"uid":7,"groups":["a"],"session":{"b":1},"send":["c"],"headers":{"set-cookie":["d=e"]}}',
    b'\0{"reply":["a",{"text":"b"},{"base64":"AP8="},{"data":{}}],"session":{},"close":{"code":4001}}',
    b'\0{"commands":[{"op":"send","to":{"groups":["a"]},"text":"b"},{"op":"ungroup","group":"c"}]}',
    b'\0{"error":{"code":"a","message":"b"}}',
    b"\1https://example.com:8443/a?b=c",
    b"\1whsec_BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF",
]:
    seed("hook_answer", text)
for text in [
    b"*4\r\n$16\r\n00c0ffee00c0ffee\r\n$1\r\n3\r\n$1\r\n3\r\n*1\r\n*4\r\n$1\r\n3\r\n$1\r\n7\r\n$0\r\n\r\n$0\r\n\r\n",
    b"+OK\r\n:-7\r\n$-1\r\n*-1\r\n-NOSCRIPT No matching script\r\n",
    b"redis://app:p%40ss@[::1]:6380/2",
    b"rediss://cache?ca=/etc/ca.pem",
    b"sqlite:/var/lib/push-suite/streams.db",
    b"00c0ffee00c0ffee-41",
    b"g:room-1",
]:
    seed("redis_answer", text)

for text in tokens:
    seed("token", text)
for text in push_api:
    seed("push_api", text)
for text in pusher:
    seed("pusher", text)
for text in pusher_http:
    seed("pusher_http", text)
for other in others:
    seed("text_and_frame", other)
for frames in device_frames:
    seed("device_frames", frames)
