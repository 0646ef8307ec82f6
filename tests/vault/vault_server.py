"""vault_state.py behind HTTP or HTTPS, in threads of the test's own process, with faults on command.

A fault is {"kind": ..., "path": regular expression, "times": how often, or None for always}; kinds:
  status    answers `status` with `body` and `headers`             redirect  307 to `location`
  hang      says nothing until the fault is taken away             slow      one byte in each `pause` seconds
  half      the head and half of the body, then the end            close     the end before the head
  garbage   200 with bytes that are no JSON                        huge      200 with `size` bytes of JSON
  deep      200 with JSON nested `depth` deep                      late      the true answer after `pause` seconds
  lost      does what is asked and closes without telling
"""
import contextlib
import http.server
import json
import random
import re
import socket
import socketserver
import ssl
import sys
import threading
import time

from vault_state import State

ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def encode(body):
    """As Go's encoder writes it: compact, HTML's characters escaped, a final newline."""
    return (json.dumps(body, separators=(",", ":"), ensure_ascii=False).translate(ESCAPED) + "\n").encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        if self.server.tls:
            self.request.settimeout(10)
            self.request.do_handshake()
        super().setup()

    def log_message(self, *_):
        pass

    def certificate(self):
        names = dict(part[0] for part in self.connection.getpeercert().get("subject", ())) if self.server.tls \
            and self.connection.getpeercert() else {}
        return names.get("commonName")

    def send(self, status, headers, body):
        encoded = b"" if body is None else body if isinstance(body, bytes) else encode(body)
        self.send_response_only(status)
        for name, value in {"Cache-Control": "no-store", "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)
        self.wfile.flush()

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.note(self.command, self.path, headers)
        if fault and fault["kind"] not in ("late", "lost", "half", "slow"):
            getattr(self, "fault_" + fault["kind"])(fault)
            return
        if fault and fault["kind"] == "late":
            self.server.pause(fault, fault["pause"])
        answer = self.server.state.answer(self.command, self.path, headers, body, self.certificate())
        if fault and fault["kind"] in ("lost", "half", "slow"):
            getattr(self, "fault_" + fault["kind"])(fault, answer)
            return
        self.send(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_LIST = do_PATCH = serve

    def fault_status(self, fault):
        self.send(fault["status"], fault.get("headers", {}), fault.get("body", {"errors": ["a fault on command"]}))

    def fault_redirect(self, fault):
        self.send(307, {"Location": fault["location"] + self.path}, None)

    def fault_hang(self, fault):
        self.server.pause(fault, 3600)
        self.close_connection = True

    def fault_close(self, _):
        self.close_connection = True

    def fault_lost(self, _, _answer):
        self.close_connection = True

    def fault_garbage(self, _):
        self.send(200, {}, random.randbytes(200))

    def fault_huge(self, fault):
        self.send(200, {}, b'{"data":{"data":{"a":"' + b"x" * fault["size"] + b'"}}}')

    def fault_deep(self, fault):
        self.send(200, {}, b'{"data":' + b"[" * fault["depth"] + b"]" * fault["depth"] + b"}")

    def fault_half(self, _, answer):
        encoded = encode(answer[2])
        self.send_response_only(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded[:len(encoded) // 2])
        self.wfile.flush()
        self.close_connection = True

    def fault_slow(self, fault, answer):
        encoded = encode(answer[2])
        self.send_response_only(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in encoded:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.pause(fault, fault["pause"]):
                    break
        self.close_connection = True


class VaultServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """`with VaultServer(...) as server:` serves until the end of the block. server.address is its URL."""
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, state=None, tls=None, host="127.0.0.1", port=0):
        self.state = state or State()
        self.tls = tls
        self.faults, self.requests, self.guard = [], [], threading.Lock()
        self.is_over = threading.Event()
        super().__init__((host, port), Handler)
        self.port = self.server_address[1]
        self.address = f"{'https' if tls else 'http'}://{host}:{self.port}"

    def get_request(self):
        connection, where = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, where

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ssl.SSLError, ValueError)):
            super().handle_error(request, client_address)

    def note(self, method, path, headers):
        """Remembers the request and returns the fault that it meets, if any."""
        with self.guard:
            self.requests.append((time.monotonic(), method, path, headers.get("x-vault-token", "")))
            for fault in self.faults:
                if fault.get("chance", 1) < 1 and random.random() >= fault["chance"]:
                    continue
                if re.search(fault.get("path", ""), path):
                    if fault.get("times") is not None:
                        fault["times"] -= 1
                        if fault["times"] <= 0:
                            self.faults.remove(fault)
                    return fault
        return None

    def pause(self, fault, seconds):
        """True when the server or the fault is over before that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.is_over.wait(min(0.05, max(0.0, end - time.monotonic()))) or fault.get("over"):
                return True
        return False

    def fault(self, kind, path="", times=None, **more):
        fault = {"kind": kind, "path": path, "times": times, **more}
        with self.guard:
            self.faults.append(fault)
        return fault

    def heal(self):
        with self.guard:
            for fault in self.faults:
                fault["over"] = True
            self.faults.clear()

    def count(self, pattern="", method=None):
        with self.guard:
            return sum(1 for _, m, path, _ in self.requests if re.search(pattern, path) and method in (None, m))

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.heal()
        self.shutdown()
        self.server_close()
        self.thread.join()
