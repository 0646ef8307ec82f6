"""A real mayflyd without an engine, and clients of its two sockets that may send what no honest client sends."""

import array
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "engine"))
import harness  # noqa: E402

NEW_CONNECTION = 30  # seconds that an answer may take on a busy machine


class NoEngine:
    """What the configuration says of an engine that is not there."""

    socket = "/nonexistent/docker.sock"
    exec_root = "/nonexistent/run"
    plugins = set()


def plugin_name(tag):
    return f"mayfly-hu-{tag}-{os.getpid()}"


class Mayfly(harness.Mayfly):
    def __init__(self, tag, **options):
        super().__init__([NoEngine], [plugin_name(tag)], **options)

    def start(self, init=True):
        super().start(init=False, wait=False)
        self.wait_ready(engines=False)
        if init and not (self.root / "var/lib/mayfly/store.db").exists():
            self.mayfly("init", "--environment", self.environment, "--recovery-key-to", self.root / "recovery-key")
        return self

    def start_badly(self, timeout=20):
        """Starts what must not go on; its exit status and what it said."""
        result = subprocess.run(
            [*map(str, self.wrapper), str(self.build / "daemon/mayflyd"), "--root", str(self.root)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr

    def restart(self):
        self.stop()
        return self.start(init=False)

    def cli(self, *arguments, value=None):
        """The command with VALUE (bytes) on standard input; nothing is decoded, nothing raised."""
        return subprocess.run(
            [str(self.build / "client/cli/mayfly"), *map(str, arguments)],
            input=value,
            stdin=subprocess.DEVNULL if value is None else None,
            capture_output=True,
            timeout=60,
            env=dict(os.environ, MAYFLY_ROOT=str(self.root), NO_COLOR="1"),
            check=False,
        )

    def plugin(self):
        return Plugin(f"/run/docker/plugins/{self.plugin_names[0]}.sock")

    def operator(self):
        return Operator(self.root / "run/mayfly/operator.sock")

    def state(self, name=""):
        return self.root / "var/lib/mayfly" / name

    def rss_kib(self):
        status = pathlib.Path(f"/proc/{self.child('mayfly-broker')}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def config_with(self, **more):
        self.config.update(more)
        self.write_config()


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(NEW_CONNECTION)
        self.socket.connect(str(path))
        self.read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.socket.sendmsg([data], ancillary)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def more(self):
        """Reads on; False at the end of the stream."""
        part = self.socket.recv(65536)
        self.read += part
        return bool(part)

    def ended(self):
        """True when the other side hangs up without another byte."""
        try:
            return not self.more() and not self.read
        except ConnectionResetError:
            return True


class Answer:
    def __init__(self, head, body):
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {
            key.strip().lower(): value.strip() for key, value in (line.decode().split(":", 1) for line in lines[1:])
        }
        self.body = body
        self.json = json.loads(body) if body else None

    @property
    def error(self):
        return self.json["Err"]


class Plugin(Connection):
    """A container engine's connection to the plugin socket."""

    def answer(self):
        while b"\r\n\r\n" not in self.read:
            if not self.more():
                raise EOFError(self.read)
        head, self.read = self.read.split(b"\r\n\r\n", 1)
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(self.read) < length:
            if not self.more():
                raise EOFError(self.read)
        body, self.read = self.read[:length], self.read[length:]
        return Answer(head, body)

    def post(self, endpoint, body, *headers):
        self.send(request(endpoint, body, *headers))
        return self.answer()


def request(endpoint, body, *headers, method="POST", version="1.1"):
    """A request as Go's client sends it. BODY: bytes, or what is to be JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode() + b"\n"
    lines = [
        f"{method} /{endpoint} HTTP/{version}",
        "Host: plugin.moby.localhost",
        "User-Agent: Go-http-client/1.1",
        f"Content-Length: {len(body)}",
        "Accept: application/vnd.docker.plugins.v1.2+json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Operator(Connection):
    """A varlink client of the operator socket."""

    def reply(self):
        while b"\0" not in self.read:
            if not self.more():
                raise EOFError(self.read)
        text, self.read = self.read.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, fds=(), more=False, **parameters):
        call = {"method": f"org.mayfly.Operator.{method}", "parameters": parameters, **({"more": True} if more else {})}
        self.send(json.dumps(call).encode() + b"\0", fds)
        return self.reply()


@contextlib.contextmanager
def memfd(content=b"", seals=0x2 | 0x8):
    """A memfd with F_SEAL_SHRINK and F_SEAL_WRITE, as values travel."""
    import fcntl

    fd = os.memfd_create("value", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
        yield fd
    finally:
        os.close(fd)


class AloneCase(unittest.TestCase):
    """Tests that share one initialised Mayfly. After each, it still runs the same broker and has lost nothing."""

    tag = "alone"
    config = {"allow_reveal": True}

    @classmethod
    def setUpClass(cls):
        harness.need(os.geteuid() == 0, "it needs root")
        cls.mayfly = Mayfly(cls.tag)
        cls.addClassCleanup(cls.mayfly.close)
        cls.mayfly.config_with(**cls.config)
        cls.mayfly.start()

    def setUp(self):
        self.broker = self.mayfly.child("mayfly-broker")
        self.addCleanup(self.check_broker)

    def check_broker(self):
        self.assertEqual(self.mayfly.child("mayfly-broker"), self.broker, self.mayfly.log_text()[-2000:])
        self.assertTrue(self.mayfly.status())

    def says(self, result, code, *words):
        """RESULT of cli() ended with CODE and said all WORDS on standard error, in a few short lines."""
        text = result.stderr.decode()
        self.assertEqual(result.returncode, code, text)
        for word in words:
            self.assertIn(word, text)
        if code:
            self.assertLessEqual(len(text.splitlines()), 4, text)
        return text

    def done(self, *arguments, value=None):
        result = self.mayfly.cli(*arguments, value=value)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def value_of(self, name):
        result = self.mayfly.cli("reveal", name)
        return result.stdout if result.returncode == 0 else None


def temporary_directory():
    return tempfile.TemporaryDirectory(prefix="mayfly-flow-")


def wait_for(*arguments, **options):
    return harness.wait_for(*arguments, **options)


def elapsed(action):
    begun = time.monotonic()
    action()
    return time.monotonic() - begun
