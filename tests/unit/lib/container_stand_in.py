"""A container socket of the tests' own: checks each call against the interface file, and answers as the test says.

What it finds wrong is collected in `problems`; a test that ends with any has failed.
"""

import array
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(SOURCE / "tests/unit/cli"))
import interface_file  # noqa: E402

INTERFACE = interface_file.Interface(SOURCE / "proto/org.mayfly.Container.varlink")
WAIT_S = 30
CREDENTIALS = struct.Struct("3i")


@dataclasses.dataclass
class Error:
    name: str
    parameters: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Raw:
    """Bytes instead of a reply; `closes`: the connection ends behind them."""

    content: bytes
    closes: bool = False


@dataclasses.dataclass
class Slow:
    """A reply that comes one part after another, each after a pause."""

    reply: dict
    seconds: float
    parts: int = 2


GONE = Raw(b"", closes=True)
SILENT = Raw(b"")


@dataclasses.dataclass
class Call:
    method: str
    parameters: dict
    more: bool


def message(content):
    return json.dumps(content).encode() + b"\0"


class Connection:
    """One client. Messages are read with the sender that the kernel names for each."""

    def __init__(self, link):
        self.link, self.buffer, self.senders = link, b"", set()
        self.connector = CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0]
        self.echoed = False

    def read(self):
        """The next message, or None at the end."""
        while b"\0" not in self.buffer:
            data, ancillary, _, _ = self.link.recvmsg(
                65536, socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(64)
            )
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    self.senders.add(CREDENTIALS.unpack(content)[0])
            if not data:
                return None
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return text


class ContainerStandIn:
    """`replies`: method -> what to answer: a dict, Error, Raw, Slow, a function of the Call, or a list of these.

    The last of a list stays. Watch is answered from `present`, deliveries, and goes on with what tell() is given.
    """

    def __init__(self, path=None):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-lib-"))
        self.path = path or self.root / "container.sock"
        self.replies, self.present = {}, []
        self.calls, self.problems, self.watchers = [], [], []
        self.echo_first = False  # as a kernel before 6.5 needs it
        self.passes_descriptors = False  # with each reply: a client must not collect them
        self.is_synchronising = True
        self.lock = threading.Condition()
        self.listener, self.links, self.threads = None, [], []

    def start(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.listener.bind(str(self.path))
        os.chmod(self.path, 0o666)
        self.listener.listen(16)
        self.spawn(self.accept, self.listener)
        return self

    def spawn(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self):
        """Ends all connections and takes the socket away, as a broker that ends."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        pathlib.Path(self.path).unlink()
        with self.lock:
            links, self.links, self.watchers = self.links, [], []
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(WAIT_S)
        self.threads = []

    def close(self):
        if self.threads:
            self.stop()
        shutil.rmtree(self.root)

    def accept(self, listener):
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.links.append(link)
            self.spawn(self.serve, link)

    def serve(self, link):
        connection = Connection(link)
        with link:
            try:
                while (text := connection.read()) is not None:
                    if not self.answer(connection, text):
                        return
            except OSError:
                pass  # The client has gone, or a test has ended us.

    def wrong(self, text):
        self.problems.append(text)

    def read_call(self, connection, text):
        content = json.loads(text)
        if set(content) - {"method", "parameters", "more"}:
            self.wrong(f"members of a call: {sorted(content)}")
        prefix, _, method = content["method"].rpartition(".")
        if prefix != INTERFACE.name or method not in INTERFACE.methods:
            self.wrong(f"{content['method']} is not declared")
        call = Call(method, content.get("parameters", {}), content.get("more", False))
        for complaint in INTERFACE.check(call.parameters, INTERFACE.methods[method][0], method):
            self.wrong(complaint)
        if connection.senders != {connection.connector}:
            self.wrong(f"{method}: {connection.connector} has connected, {connection.senders} has sent")
        if call.parameters.get("wait_ms", 0) and call.parameters["wait_ms"] > 600_000:
            self.wrong(f"{method}: a wait that is too long")
        return call

    def answer(self, connection, text):
        call = self.read_call(connection, text)
        if call.method == "Echo":
            return self.take_echo(connection, call)
        if self.echo_first and not connection.echoed:
            self.send(
                connection,
                {"error": f"{INTERFACE.name}.EchoRequired", "parameters": {"nonce": f'nonce "{connection.connector}"'}},
            )
            return True
        with self.lock:
            self.calls.append(call)
            self.lock.notify_all()
        reply = self.replies.get(call.method)
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if callable(reply):
            reply = reply(call)
        if reply is None and call.method == "Watch":
            return self.watch(connection, call)
        return self.reply(connection, call, reply)

    def take_echo(self, connection, call):
        if call.parameters["nonce"] != f'nonce "{connection.connector}"':
            self.wrong(f"another nonce was echoed: {call.parameters}")
        connection.echoed = True
        self.send(connection, {"parameters": {}})
        return True

    def watch(self, connection, call):
        if not call.more:
            self.wrong("Watch without more")
        with self.lock:
            for delivery in self.present:
                self.send_event(connection, "present", delivery)
            if self.is_synchronising:
                self.send_event(connection, "synchronised", None)
            self.watchers.append(connection)
            self.lock.notify_all()
        return True

    def send_event(self, connection, event, delivery):
        parameters = {"event": event, **({"delivery": delivery} if delivery else {})}
        for complaint in INTERFACE.check(parameters, INTERFACE.methods["Watch"][1], "Watch"):
            self.wrong(complaint)
        self.send(connection, {"parameters": parameters, "continues": True})

    def tell(self, event, delivery):
        """To everybody who watches."""
        with self.lock:
            for connection in self.watchers:
                self.send_event(connection, event, delivery)

    def reply(self, connection, call, reply):
        if isinstance(reply, Raw):
            connection.link.sendall(reply.content)
            return not reply.closes
        if isinstance(reply, Slow):
            content = message({"parameters": reply.reply})
            size = len(content) // reply.parts + 1
            for at in range(0, len(content), size):
                time.sleep(reply.seconds)
                connection.link.sendall(content[at : at + size])
            return True
        if isinstance(reply, Error):
            for complaint in INTERFACE.check(reply.parameters, INTERFACE.errors[reply.name], reply.name):
                self.wrong(complaint)
            self.send(connection, {"error": f"{INTERFACE.name}.{reply.name}", "parameters": reply.parameters})
            return True
        for complaint in INTERFACE.check(reply, INTERFACE.methods[call.method][1], f"reply of {call.method}"):
            self.wrong(complaint)
        self.send(connection, {"parameters": reply})
        return True

    def send(self, connection, content):
        rights = []
        if self.passes_descriptors:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.listener.fileno()]))]
        text = message(content)
        sent = connection.link.sendmsg([text], rights)
        # Who has all of it may close at once.
        if sent < len(text):
            connection.link.sendall(text[sent:])

    def wait_for(self, condition, what):
        """Until CONDITION holds, which calls and watchers change."""
        with self.lock:
            if not self.lock.wait_for(condition, WAIT_S):
                raise AssertionError(f"{what}: not within {WAIT_S} s; calls were {self.calls}")


class Files:
    """A delivery's directory as the mounter makes it: generations behind `..data`, and links beside it."""

    def __init__(self, directory, target=None, lease="lease-1"):
        self.directory, self.lease, self.generation, self.names = pathlib.Path(directory), lease, 0, {}
        self.target = str(target or directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)

    def fill(self, **files):
        """The next generation: file -> content; "__" in a name stands for "/", "_" for "-"."""
        old = self.directory / f"..{self.generation}"
        self.generation += 1
        new = self.directory / f"..{self.generation}"
        self.names = {}
        for name, content in files.items():
            name = name.replace("__", "/").replace("_", "-")
            self.names[name] = content
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o444)
        link = self.directory / "..data_new"
        link.symlink_to(new.name)
        link.rename(self.directory / "..data")
        for top in {name.split("/")[0] for name in self.names}:
            if not (self.directory / top).is_symlink():
                (self.directory / top).symlink_to(f"..data/{top}")
        if old.exists():
            shutil.rmtree(old)
        return self.delivery()

    def delivery(self, expires=None):
        files = [
            {"path": f"{self.target}/{name}", "secrets": [{"name": f"prod/{name}", "version": self.generation}]}
            for name in self.names
        ]
        return {
            "lease": self.lease,
            "target": self.target,
            "generation": self.generation,
            "expires": expires,
            "files": files,
        }
