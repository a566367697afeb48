"""A WebSocket over TLS with the standard library only: connects, checks echoes, closes.

usage: wss.py PORT CAFILE [COMMAND...]

The certificate must be valid for `localhost`. A COMMAND is run while the connection is open, and
the echo must still work after it. Exits 1, saying why, if anything is not as it should be.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    def __init__(self, port, cafile, source="127.0.0.1", headers=b""):
        context = ssl.create_default_context(cafile=cafile)
        host = "::1" if ":" in source else "127.0.0.1"
        plain = socket.create_connection((host, port), timeout=10, source_address=(source, 0))
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        self.shake_hands(port, headers)

    def shake_hands(self, port, headers):
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n" % (port, key, headers)
        )
        status = self.file.readline()
        expect(b" 101 " in status, f"no upgrade: {status!r}")
        accept = b""
        while (line := self.file.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-accept":
                accept = value.strip()
        wanted = base64.b64encode(hashlib.sha1(key + GUID).digest())
        expect(accept == wanted, f"wrong Sec-WebSocket-Accept: {accept!r}")

    def send(self, opcode, payload):
        mask = os.urandom(4)
        if len(payload) < 126:
            length = struct.pack("!B", 0x80 | len(payload))
        elif len(payload) < 65536:
            length = struct.pack("!BH", 0x80 | 126, len(payload))
        else:
            length = struct.pack("!BQ", 0x80 | 127, len(payload))
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self):
        """The next message except pings, as opcode and payload. The gateway never fragments."""
        while True:
            first, length = self.read(2)
            expect(first & 0x80, "a fragment")
            if length == 126:
                (length,) = struct.unpack("!H", self.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.read(8))
            payload = self.read(length)
            if first & 0x0F != PING:
                return first & 0x0F, payload
            self.send(PONG, payload)

    def read(self, length):
        data = self.file.read(length)
        expect(len(data) == length, "the connection ended")
        return data

    def echo(self, opcode, payload):
        self.send(opcode, payload)
        got = self.receive()
        expect(got == (opcode, payload), f"echoed as {got[0]}, {got[1][:80]!r}")

    def close(self):
        self.send(CLOSE, struct.pack("!H", 1000))
        opcode, payload = self.receive()
        expect(opcode == CLOSE and payload[:2] == b"\x03\xe8", f"closed by {opcode}, {payload!r}")


def expect(true, message):
    if not true:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


def main(port, cafile, *command):
    websocket = WebSocket(int(port), cafile)
    websocket.echo(TEXT, "你好, gateway".encode())
    websocket.echo(BINARY, bytes(range(256)) * 400)
    if command:
        subprocess.run(command, check=True)
        websocket.echo(TEXT, b"still here")
    websocket.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
