"""The address that workers see of a client behind a proxy, with the standard library only.

usage: client_address.py ADDRESS PORT CAFILE INNER_PORT...

Links to each gateway as a PHP worker, and opens WebSockets over TLS through the proxy at PORT from
ADDRESS, with headers that claim another address, until each gateway has reported one. Every address
in the events must be ADDRESS. Exits 1, saying why, if anything is not as it should be.
"""

import json
import re
import selectors
import socket
import struct
import sys
import time

from wss import WebSocket, expect

# GatewayWorker's inner protocol: opcodes, and the fields of a frame up to its body.
CONNECT, OPENED, WORKER = 1, 205, 200
HEAD = struct.Struct("!IB4sH4sHIBHI")

FORGED = b"X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n"


class Worker:
    """The link of a PHP worker."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        hello = json.dumps({"worker_key": "address:0", "secret_key": ""}).encode()
        none = bytes(4)
        self.socket.sendall(
            HEAD.pack(HEAD.size + len(hello), WORKER, none, 0, none, 0, 0, 1, 0, 0) + hello
        )

    def event(self):
        """The next event: opcode, address in the frame, and body."""
        head = HEAD.unpack(self.read(HEAD.size))
        body = self.read(head[0] - HEAD.size)
        return head[1], socket.inet_ntoa(head[4]), body[head[9]:]

    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            expect(more, "a gateway closed the link of the worker")
            data += more
        return data


def check(event, address):
    """Whether an event has the address in full; fails if it has another one."""
    opcode, ip, body = event
    if opcode == CONNECT and ":" not in address:
        expect(ip == address, f"the worker sees {ip}, not {address}")
    if opcode != OPENED:
        return False
    (found,) = re.findall(rb'"REMOTE_ADDR";s:\d+:"([^"]*)"', body)
    # PHP shows an IPv6 address in brackets.
    found = found.decode().strip("[]")
    expect(found == address, f"REMOTE_ADDR is {found}, not {address}")
    return True


def main(address, port, cafile, *inner_ports):
    workers = selectors.DefaultSelector()
    for inner in inner_ports:
        worker = Worker(int(inner))
        workers.register(worker.socket, selectors.EVENT_READ, worker)
    missing, clients = set(inner_ports), []
    names = {key.data: inner for key, inner in zip(workers.get_map().values(), inner_ports)}
    deadline = time.monotonic() + 20
    while missing:
        expect(time.monotonic() < deadline, f"no client at the worker of {missing}")
        # Kept open, so that proxies and gateways choose another gateway and worker for the next one.
        clients.append(WebSocket(int(port), cafile, address, FORGED))
        for key, _ in workers.select(0.2):
            if check(key.data.event(), address):
                missing.discard(names[key.data])


main(*sys.argv[1:])
