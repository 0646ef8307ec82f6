"""A real dockerd of its own, a volume plugin and a mayfly-engine process, all below one directory.

Everything that is started here is stopped by its process id, and everything that is made is removed.
"""
import array
import fcntl
import http.client
import http.server
import io
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import tarfile
import threading
import time

PLUGINS = pathlib.Path("/run/docker/plugins")
FRAME_MAX = 256 * 1024


def wait_until(condition, timeout=20.0, step=0.02):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(step)
    raise TimeoutError("waited in vain")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Docker:
    """One dockerd and the few calls of its API that the tests need."""

    def __init__(self, base, data="data"):
        self.base = pathlib.Path(base)
        self.data = self.base / data
        self.exec_root = self.base / "run"
        self.socket = self.base / "docker.sock"
        self.process = None

    def start(self, wait=True, before=()):
        self.log = open(self.base / "dockerd.log", "ab")
        self.process = subprocess.Popen(
            [*before, "dockerd", "--data-root", self.data, "--exec-root", self.exec_root, "-p", self.base / "docker.pid",
             "-H", f"unix://{self.socket}", "--bridge=none", "--iptables=false"], stdout=self.log, stderr=self.log)
        if wait:
            wait_until(self.answers, 60)

    def answers(self, timeout=1.0):
        try:
            return self.call("GET", "/_ping", timeout=timeout) == "OK"
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None
            self.log.close()

    def stop_containerd(self):
        """A dockerd that was killed leaves its containerd behind, and a number that PID 1 may not reap."""
        note = self.exec_root / "containerd/containerd.pid"
        try:
            os.kill(int(note.read_text()), signal.SIGTERM)
            note.unlink()
        except (OSError, ValueError):
            pass

    def call(self, method, path, body=None, timeout=60.0, content_type="application/json"):
        connection = UnixConnection(self.socket, timeout)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if body else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.strip()}")
        return json.loads(text) if text.startswith(("{", "[")) and "\n{" not in text else text

    def import_image(self, name):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            def add(path, content=b"", kind=tarfile.REGTYPE, link="", mode=0o755):
                item = tarfile.TarInfo(path)
                item.type, item.linkname, item.mode, item.size = kind, link, mode, len(content)
                tar.addfile(item, io.BytesIO(content))
            for directory in ("bin", "etc", "run", "var", "inside", "home"):
                add(directory, kind=tarfile.DIRTYPE)
            add("bin/busybox", pathlib.Path(shutil.which("busybox")).read_bytes())
            for applet in ("sh", "cat", "ls", "sleep", "true"):
                add(f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
            add("var/run", kind=tarfile.SYMTYPE, link="../run")
            add("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n", mode=0o644)
            add("etc/group", b"root:x:0:\nweb:x:2000:\n", mode=0o644)
        self.call("POST", f"/images/create?fromSrc=-&repo={name}&tag=1", archive.getvalue(),
                  content_type="application/x-tar")

    def create(self, name, image="mayfly-test:1", command=("sleep", "300"), **options):
        host = {"NetworkMode": "none", **options.pop("host", {})}
        body = {"Image": image, "Cmd": list(command), "HostConfig": host, **options}
        return self.call("POST", f"/containers/create?name={name}", body)["Id"]

    def start_container(self, name):
        self.call("POST", f"/containers/{name}/start")

    def remove(self, name):
        self.call("DELETE", f"/containers/{name}?force=1&v=1")

    def containers(self):
        return self.call("GET", "/containers/json?all=1")

    def destroy(self):
        if self.process and self.answers():
            for container in self.containers():
                try:
                    self.remove(container["Id"])
                except (RuntimeError, OSError):
                    pass
        self.stop()
        self.stop_containerd()
        self.stop_shims()
        self.unmount()

    def stop_shims(self):
        """What a test that failed in the middle of a restart has left running: ours by their socket's path."""
        address = f"{self.exec_root}/containerd/containerd.sock".encode()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                if address in command and b"shim" in command[0]:
                    for child in (process / f"task/{process.name}/children").read_text().split():
                        os.kill(int(child), signal.SIGKILL)
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                pass

    def unmount(self):
        mounts = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed(mounts):
            if mount.startswith(f"{self.base}/"):
                subprocess.run(["umount", "-l", mount], check=False)


class PluginHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "docker"

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        method = self.path.rsplit(".", 1)[-1]
        try:
            answer, status = self.server.plugin.answer(method, body), 200
        except Exception as error:  # a failing hook is a failing Mount
            answer, status = {"Err": str(error)}, 500
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class PluginServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Plugin:
    """A volume driver whose Mount asks the test (self.on_mount) while dockerd waits."""

    def __init__(self, base, name):
        self.name = name
        self.volumes_directory = pathlib.Path(base) / "run/mayfly-volumes"
        self.volumes_directory.mkdir(parents=True, exist_ok=True)
        self.volumes = set()
        self.on_mount = lambda volume, mount_id: None
        PLUGINS.mkdir(parents=True, exist_ok=True)
        self.socket = PLUGINS / f"{name}.sock"
        self.server = PluginServer(str(self.socket), PluginHandler)
        self.server.plugin = self
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, method, body):
        name = body.get("Name")
        if method == "Activate":
            return {"Implements": ["VolumeDriver"]}
        if method == "Capabilities":
            return {"Capabilities": {"Scope": "local"}}
        if method == "Create":
            self.volumes.add(name)
        if method == "Get":
            return {"Volume": {"Name": name}, "Err": ""} if name in self.volumes else {"Err": "no such volume"}
        if method == "List":
            return {"Volumes": [{"Name": volume} for volume in self.volumes], "Err": ""}
        if method == "Mount":
            directory = self.volumes_directory / body["ID"]
            directory.mkdir(exist_ok=True)
            (directory / ".mayfly").touch()
            self.on_mount(name, body["ID"])
            return {"Mountpoint": str(directory), "Err": ""}
        return {"Err": ""}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.socket.unlink(missing_ok=True)


class Broker:
    """The broker's end of the channel: reads frames into a list that tests wait on."""

    def __init__(self, end, reading=True):
        self.socket = end
        self.frames = queue.Queue()
        self.kept = []
        self.serial = 0
        self.lock = threading.Lock()
        self.waiters = {}
        self.ended = threading.Event()
        if reading:
            self.read()

    def read(self):
        threading.Thread(target=self.loop, daemon=True).start()

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def loop(self):
        try:
            while True:
                length = struct.unpack("=I", self.receive(4))[0]
                assert 0 < length <= FRAME_MAX, length
                frame = json.loads(self.receive(length))
                waiter = self.waiters.get(frame.get("serial"))
                (waiter or self.frames).put(frame)
        except (EOFError, OSError):
            self.ended.set()

    def send(self, descriptor=None, **frame):
        text = json.dumps(frame).encode()
        data = struct.pack("=I", len(text)) + text
        with self.lock:
            if descriptor is None:
                self.socket.sendall(data)
            else:
                self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])

    def next(self, timeout=15.0):
        return self.frames.get(timeout=timeout)

    def expect(self, timeout=15.0, **members):
        """The next frame with these members; frames before it are dropped."""
        end = time.monotonic() + timeout
        while True:
            try:
                frame = self.next(max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no frame {members}") from None
            if all(frame.get(key) == value for key, value in members.items()):
                return frame

    def ask(self, request, timeout=15.0, **members):
        """Asks and returns (answers, the last frame)."""
        with self.lock:
            self.serial += 1
            serial = self.serial
            answers = self.waiters[serial] = queue.Queue()
        self.send(type=request, serial=serial, **members)
        frames = []
        try:
            while True:
                frame = answers.get(timeout=timeout)
                if frame["type"] == "done" or request == "container":
                    return frames, frame
                frames.append(frame)
        finally:
            del self.waiters[serial]

    def candidates(self, volume, timeout=15.0):
        frames, done = self.ask("candidates", timeout, volume=volume)
        return frames, done["error"]

    def restart(self, identity, timeout_s=0, timeout=40.0):
        """Asks for a restart and returns its error, None without one."""
        frames, done = self.ask("restart", timeout, id=identity, timeout_s=timeout_s)
        assert not frames, frames
        return done["error"]

    def greet(self, data_root=None):
        self.send(type="hello", data_root=data_root)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Engine:
    """A mayfly-engine process with its supervisor's and its broker's ends."""

    HEARTBEAT, READY, CHANNEL_BROKER = 1, 2, 6

    def __init__(self, binary, docker, plugin_name, log, reading=True):
        control, control_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        broker, broker_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control = control
        self.log = open(log, "ab")
        environment = {"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1"}
        # posix_spawn duplicates in order: numbers 3 and 4 must not be what is still to be duplicated.
        ends = [self.high(control_child), self.high(broker_child)]
        self.pid = os.posix_spawn(
            binary, [binary, "--socket", str(docker.socket), "--plugin", plugin_name, "--exec-root",
                     str(docker.exec_root)], environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, ends[0], 3), (os.POSIX_SPAWN_DUP2, ends[1], 4),
                          (os.POSIX_SPAWN_DUP2, self.log.fileno(), 2)])
        for end in ends:
            os.close(end)
        control_child.close()
        broker_child.close()
        self.status = None
        self.heartbeats = 0
        self.ready = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()
        self.broker = Broker(broker, reading)

    @staticmethod
    def high(end):
        return fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 64)

    def watch(self):
        try:
            while True:
                record = self.control.recv(64)
                if not record:
                    return
                kind = struct.unpack("=IIiI", record)[0]
                if kind == self.READY:
                    self.ready.set()
                if kind == self.HEARTBEAT:
                    self.heartbeats += 1
        except OSError:
            pass

    def new_broker(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        record = struct.pack("=IIiI", self.CHANNEL_BROKER, 0, 0, 0)
        self.control.sendmsg([record], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        self.broker = Broker(ours)
        return self.broker

    def greeted(self, data_root=None):
        """Says hello and waits until everything has been told."""
        self.broker.greet(data_root)
        self.broker.expect(type="synchronised")
        return self

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self, timeout=10.0):
        wait_until(lambda: self.poll() is not None, timeout)
        return self.status

    def stop(self):
        """As the supervisor: the end of its channel is the end."""
        try:
            self.control.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.control.close()
        try:
            status = self.wait()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            status = self.wait()
        self.broker.close()
        self.log.close()
        return status

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        self.broker.close()
        self.control.close()
        self.log.close()

    def proportional_kib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return 0

    def state(self, key):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return line.split()[1]
        return None
