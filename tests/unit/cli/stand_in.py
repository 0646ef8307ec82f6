"""A broker of the tests' own: answers each call as the test says, and checks each call against the interface file.

What it finds wrong is collected in `problems`; a test that ends with any has failed.
"""
import array
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import interface_file

F_GET_SEALS = 1034
F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 2, 4, 8
CONTAINER_ID = "0123456789abcdef" * 4
# Parameters that the broker writes to; every other one that ends in _fd brings something.
WRITTEN = {("Init", "recovery_fd"), ("AddSlot", "recovery_fd"), ("RotateKey", "recovery_fd"), ("Reveal", "into_fd")}
RECOVERY_KEY = b"AAAA-BBBB-CCCC-DDDD-recovery-canary"


@dataclasses.dataclass
class Error:
    name: str
    parameters: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Stream:
    replies: list


class Gone:
    """The broker ends the connection instead of answering."""


@dataclasses.dataclass
class Last:
    """An answer after which the broker ends the connection."""
    reply: dict


@dataclasses.dataclass
class Call:
    method: str
    parameters: dict
    more: bool
    brought: dict  # parameter -> bytes
    text: bytes  # the message as it came
    pid: int  # of the caller


class StandIn(threading.Thread):
    """`replies`: method -> what to answer: a dict, Error, Stream, Gone, bytes to write first, or a list of them in order."""

    def __init__(self, root, interface):
        super().__init__(daemon=True)
        self.interface, self.replies = interface, {}
        self.calls, self.problems, self.secrets = [], [], []
        self.revealed = b""
        path = pathlib.Path(root) / "run/mayfly"
        path.mkdir(parents=True, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path = path / "operator.sock"
        self.path.unlink(missing_ok=True)
        self.socket.bind(str(self.path))
        self.socket.listen(8)

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.join(10)

    def serve(self, connection):
        buffer, fds = b"", []
        while True:
            while b"\0" not in buffer:
                data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4 * 64))
                for level, kind, content in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        numbers = array.array("i")
                        numbers.frombytes(content[: len(content) // 4 * 4])
                        fds += numbers
                if not data:
                    return
                buffer += data
            text, buffer = buffer.split(b"\0", 1)
            answered = self.answer(connection, text, fds)
            for fd in fds:
                os.close(fd)
            fds = []
            if not answered:
                return

    def wrong(self, text):
        self.problems.append(text)

    def answer(self, connection, text, fds):
        message = json.loads(text)
        pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self.check_secrecy(pid, text)
        if set(message) - {"method", "parameters", "more"}:
            self.wrong(f"members of a call: {sorted(message)}")
        prefix, _, method = message["method"].rpartition(".")
        parameters = message.get("parameters", {})
        if prefix != self.interface.name or method not in self.interface.methods:
            self.wrong(f"{message['method']} is not declared")
            return False
        for complaint in self.interface.check(parameters, self.interface.methods[method][0], method):
            self.wrong(complaint)
        call = Call(method, parameters, message.get("more", False), self.take_fds(method, parameters, fds), text, pid)
        self.calls.append(call)
        return self.reply(connection, call)

    def take_fds(self, method, parameters, fds):
        brought, used = {}, set()
        for name, index in parameters.items():
            if not name.endswith("_fd"):
                continue
            if not 0 <= index < len(fds):
                self.wrong(f"{method}: {name} is {index}, {len(fds)} descriptors came")
                continue
            used.add(index)
            if (method, name) in WRITTEN:
                self.write_answer(method, fds[index])
            else:
                brought[name] = self.read_sealed(f"{method}.{name}", fds[index])
        if used != set(range(len(fds))):
            self.wrong(f"{method}: {len(fds)} descriptors came, used are {sorted(used)}")
        return brought

    def read_sealed(self, where, fd):
        seals = fcntl.fcntl(fd, F_GET_SEALS)
        for seal in (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE):
            if not seals & seal:
                self.wrong(f"{where}: seal {seal} is missing")
        return os.pread(fd, 4 << 20, 0)

    def write_answer(self, method, fd):
        if os.fstat(fd).st_size != 0:
            self.wrong(f"{method}: the memory file to write into is not empty")
        answer = self.replies.get(method)
        if isinstance(answer, Error):
            return
        os.pwrite(fd, self.revealed if method == "Reveal" else RECOVERY_KEY, 0)

    def check_secrecy(self, pid, text):
        """No value in the message, and none in the caller's command line or environment."""
        places = {"the message": text, "the command line": pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()}
        try:
            places["the environment"] = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        except PermissionError:
            pass  # The process is undumpable: only root may look.
        for secret in self.secrets:
            for where, content in places.items():
                if secret in content:
                    self.wrong(f"a value stands in {where}")

    def reply(self, connection, call):
        answer = self.replies.get(call.method, Error("Failed", {"text": f"the test has no answer to {call.method}"}))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer) and answer is not Gone:
            answer = answer(call)
        if answer is Gone:
            return False
        if isinstance(answer, Error):
            self.send_error(connection, answer)
            return True
        goes_on = not isinstance(answer, Last)
        replies = answer.replies if isinstance(answer, Stream) else [answer if goes_on else answer.reply]
        if len(replies) > 1 and not call.more:
            self.wrong(f"{call.method}: the call did not ask for more")
        for i, parameters in enumerate(replies):
            for complaint in self.interface.check(parameters, self.interface.methods[call.method][1], f"reply of {call.method}"):
                self.wrong(complaint)
            self.send(connection, {"parameters": parameters, **({"continues": True} if i + 1 < len(replies) else {})})
        return goes_on

    def send_error(self, connection, error):
        name = error.name if "." in error.name else f"{self.interface.name}.{error.name}"
        if error.name in self.interface.errors:
            for complaint in self.interface.check(error.parameters, self.interface.errors[error.name], f"error {error.name}"):
                self.wrong(complaint)
        self.send(connection, {"error": name, "parameters": error.parameters})

    @staticmethod
    def send(connection, message):
        connection.sendall(json.dumps(message).encode() + b"\0")


def ordinary_user():
    """Words before a command that make it an ordinary user's; None if that cannot be had here."""
    if os.geteuid() != 0:
        return []
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    try:
        return words if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else None
    except FileNotFoundError:
        return None


class Bench:
    """A root of its own with a stand-in, and the command under test."""

    def __init__(self, mayfly, source):
        self.mayfly = os.path.abspath(mayfly)
        self.interface = interface_file.Interface(pathlib.Path(source) / "proto/org.mayfly.Operator.varlink")
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-cli-"))
        self.broker = StandIn(self.root, self.interface)
        self.broker.start()
        self.failed, self.done = 0, 0

    def run(self, *words, stdin=b"", env=None, root=True, cwd=None, before=()):
        environment = {**os.environ, "NO_COLOR": "1", **(env or {})}
        environment.pop("MAYFLY_ROOT", None)
        if root:
            environment["MAYFLY_ROOT"] = str(self.root)
        return subprocess.run(
            [*before, self.mayfly, *words], input=stdin, capture_output=True, env=environment, cwd=cwd, timeout=60, check=False)

    def calls(self):
        """What was called since the last time."""
        calls, self.broker.calls = self.broker.calls, []
        return calls

    def methods(self):
        return [call.method for call in self.calls()]

    def expect(self, name, condition, detail=""):
        self.done += 1
        problems, self.broker.problems = self.broker.problems, []
        if condition and not problems:
            return
        self.failed += 1
        print(f"not ok: {name}: {detail} {problems or ''}")

    def finish(self):
        self.broker.close()
        shutil.rmtree(self.root)
        print(f"{self.done} checks, {self.failed} failed")
        sys.exit(1 if self.failed else 0)
