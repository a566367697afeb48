"""A client of a gateway, and a back end that may not answer: as much as the walks need."""

import base64
import http.server
import os
import socket
import struct
import threading


class Client:
    """A WebSocket client, which answers pings. One that does not read has small buffers."""

    def __init__(self, host, port, reads=True):
        self.socket = socket.socket()
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((host, port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.texts, self.is_open, self.lock = "", True, threading.Lock()
        self.stream = self.socket.makefile("rb")
        if b"101" not in self.stream.readline():
            raise ConnectionError("the gateway refuses the client")
        while self.stream.readline().strip():
            pass
        if reads:
            threading.Thread(target=self._read, daemon=True).start()

    def send(self, text):
        self._write(0x81, text.encode())

    def close(self):
        self.is_open = False
        self.socket.shutdown(socket.SHUT_RDWR)

    def _write(self, head, payload):
        size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
        with self.lock:
            self.socket.sendall(bytes([head]) + size + bytes(4) + payload)

    def _read(self):
        try:
            while head := self.stream.read(2):
                size = head[1] & 0x7F
                if size > 125:
                    size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
                payload = self.stream.read(size)
                if head[0] & 0x0F == 0x9:
                    self._write(0x8A, payload)
                elif head[0] & 0x0F == 0x8:
                    break
                else:
                    self.texts += payload.decode(errors="replace")
        except (OSError, ValueError):
            pass
        self.is_open = False


class Receiver:
    """A back end that counts the requests that it answers; one that does not answer keeps them."""

    def __init__(self, port, answers):
        receiver, self.requests, never = self, 0, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                if not answers:
                    never.wait()
                receiver.requests += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
