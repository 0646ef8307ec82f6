"""A real container engine and a real Mayfly for tests: started on their own directories, stopped and cleaned up again."""
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", "build")).resolve()
MAYFLYD = BUILD / "daemon/mayflyd"
CLI = BUILD / "client/cli/mayfly"
MUST_RUN = os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1"
BUSYBOX = "/bin/busybox"
COMMANDS = "sh cat ls id mount umount sleep env stat true false touch echo ps dd cp mkdir chmod kill wc head test mv ln rm find".split()
IMAGE = "mayfly-test:1"
USER = 64999  # the broker's uid in tests: no account has it
REMAPPED_FROM = 200000


def need(condition, what):
    """Skips the test program with WHAT, or fails it where skipping is not allowed."""
    if condition:
        return
    if MUST_RUN:
        raise RuntimeError(f"this test must run here, and {what}")
    raise unittest.SkipTest(what)


def run(*command, check=True, timeout=120, **options):
    result = subprocess.run([str(c) for c in command], text=True, capture_output=True, timeout=timeout, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def wait_for(condition, what, timeout=15, step=0.02):
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(step)


def processes_below(pid):
    """PID and everything that descends from it."""
    found, look = [pid], [pid]
    while look:
        one = look.pop()
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{one}/task/{one}/children").read_text().split()
            found += map(int, children)
            look += map(int, children)
    return found


class Ending:
    """Processes whose end is waited for. By descriptor: numbers are used again within seconds on a busy machine."""

    def __init__(self, pids):
        self.pidfds = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self.pidfds.append(os.pidfd_open(pid))

    def wait(self, what, timeout=30):
        try:
            wait_for(lambda: len(select.select(self.pidfds, [], [], 0)[0]) == len(self.pidfds), what, timeout)
        finally:
            for pidfd in self.pidfds:
                os.close(pidfd)


def mounts(pid="self"):
    return pathlib.Path(f"/proc/{pid}/mounts").read_text()


def plugin_name(tag="test"):
    """Sockets of plugins lie in one directory of the host, whatever else is ours alone."""
    return f"mayfly-{tag}-{os.getpid()}"


def end_processes_of(directory):
    """Kills what carries DIRECTORY in its command line and what descends from it: a container whose shim outlived its
    engine has no other name of ours."""
    marked = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and str(directory).encode() in (entry / "cmdline").read_bytes():
                marked += reversed(processes_below(int(entry.name)))
    for pid in marked:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


class Engine:
    """dockerd with directories of its own. cgroup 2: in a mount namespace of its own, where /sys/fs/cgroup is version 2.
    remapped: with a user namespace for its containers, whose uids begin at REMAPPED_FROM."""

    def __init__(self, cgroup=1, arguments=(), directory=None, remapped=False):
        need(os.geteuid() == 0, "it needs root")
        need(shutil.which("dockerd") and os.path.exists(BUSYBOX), "there is no dockerd or busybox-static")
        need(not remapped or os.path.exists("/etc/subuid"), "there is no /etc/subuid")
        self.cgroup, self.arguments, self.remapped = cgroup, list(arguments), remapped
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="mayfly-engine-"))
        self.directory.chmod(0o755)
        self.socket = self.directory / "docker.sock"
        self.data_root = self.directory / "data"
        self.exec_root = self.directory / "run"
        self.process = None
        self.known_volumes = []
        self.keep = []  # names of containers that are not removed between tests

    def command(self):
        dockerd = ["dockerd", "--data-root", self.data_root, "--exec-root", self.exec_root, "-p",
                   self.directory / "docker.pid", "-H", f"unix://{self.socket}", "--bridge=none", "--iptables=false",
                   "--ip-forward=false", *self.arguments]
        prepare = []
        if self.cgroup == 2:
            prepare += ["umount -l /sys/fs/cgroup", "mount -t cgroup2 none /sys/fs/cgroup"]
        if self.remapped:
            ids = self.directory / "subid"
            ids.write_text(f"nobody:{REMAPPED_FROM}:65536\nnogroup:{REMAPPED_FROM}:65536\n")
            prepare += [f"mount --bind {ids} /etc/subuid", f"mount --bind {ids} /etc/subgid"]
            dockerd.append("--userns-remap=nobody:nogroup")
        if not prepare:
            return dockerd
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", "; ".join([*prepare, 'exec "$@"']), "sh", *dockerd]

    def start(self, wait=True):
        self.log = open(self.directory / "dockerd.log", "ab")
        self.process = subprocess.Popen([str(c) for c in self.command()], stdout=self.log, stderr=self.log)
        if wait:
            self.wait_ready()
        return self

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self.socket))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200" in connection.recv(64)
        except OSError:
            return False

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("dockerd has ended:\n" + (self.directory / "dockerd.log").read_text()[-3000:])
            return self.answers()
        wait_for(ready, "dockerd answers", 60)

    def pid(self):
        """dockerd's own pid: `unshare` and `sh` have become it."""
        return self.process.pid

    def docker(self, *arguments, **options):
        return run("docker", "-H", f"unix://{self.socket}", *arguments, **options)

    def container(self, *arguments, **options):
        """`docker run -d`; the id."""
        return self.docker("run", "-d", "--network", "none", *arguments, **options).stdout.strip()

    def inspect(self, container, form):
        return self.docker("inspect", "-f", "{{" + form + "}}", container).stdout.strip()

    def exec(self, container, *command, **options):
        return self.docker("exec", container, *command, **options)

    def import_image(self, name=IMAGE, extra=lambda root: None):
        """An image of busybox and an /etc/passwd, without a registry."""
        with tempfile.TemporaryDirectory(prefix="mayfly-image-") as root:
            root = pathlib.Path(root)
            for directory in ("bin", "etc", "tmp", "proc", "run"):
                (root / directory).mkdir()
            shutil.copy(BUSYBOX, root / "bin/busybox")
            for command in COMMANDS:
                (root / "bin" / command).symlink_to("busybox")
            (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
            (root / "etc/group").write_text("root:x:0:\nweb:x:1001:\n")
            extra(root)
            tar = subprocess.run(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(["docker", "-H", f"unix://{self.socket}", "import", "-", name], input=tar, check=True,
                           stdout=subprocess.DEVNULL)

    def remove_containers(self):
        listed = self.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").stdout.splitlines()
        ids = [line.split()[0] for line in listed if line.split()[1] not in self.keep]
        if ids:
            self.docker("rm", "-f", *ids, check=False)

    def remove_volumes(self):
        """Those that this engine knows by itself: to list all it would ask every plugin of the host, also a dead one."""
        names = self.known_volumes
        self.known_volumes = []
        if names:
            self.docker("volume", "rm", "-f", *names, check=False)

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            below = Ending(processes_below(self.process.pid)[1:])
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            below.wait("its processes have ended")
            # The next dockerd takes whoever has these numbers by then for a containerd, or a dockerd, that is alive.
            for stale in (self.exec_root / "containerd/containerd.pid", self.directory / "docker.pid"):
                stale.unlink(missing_ok=True)
        self.log.close()

    def close(self):
        everything = processes_below(self.process.pid) if self.process else []
        self.keep = []
        with contextlib.suppress(Exception):
            self.remove_containers()
        self.stop()
        for pid in everything[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        end_processes_of(self.directory)
        time.sleep(0.1)
        for line in reversed(mounts().splitlines()):
            where = line.split()[1]
            if where.startswith(str(self.directory)):
                subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Mayfly:
    """mayflyd below a directory of its own, serving one engine (or several) under a plugin name of its own."""

    def __init__(self, engines, plugin_names=None, build=BUILD, environment="prod", wrapper=(), config=None, below=None):
        plugin_names = plugin_names or [f"{plugin_name()}-{i}" for i in range(len(engines))]
        self.engines, self.plugin_names, self.build = engines, plugin_names, build
        self.wrapper = list(wrapper)
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-root-", dir=below))
        self.root.chmod(0o755)
        self.environment = environment
        self.process = None
        self.config = config or {
            "user": USER, "environment": environment,
            "sets": {"dev": {"inherits": ["common"]}, "prod": {"inherits": ["common"]}, "common": {}},
            "engines": [{"name": name, "socket": str(engine.socket), "plugin_name": name, "exec_root": str(engine.exec_root)}
                        for engine, name in zip(engines, plugin_names)]}
        self.write_config()

    def write_config(self):
        (self.root / "etc/mayfly/policy.d").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/mayfly/mayflyd.json").write_text(json.dumps(self.config, indent=2))

    def start(self, init=True, wait=True):
        self.log = open(self.root / "mayflyd.log", "ab")
        self.process = subprocess.Popen(
            [*map(str, self.wrapper), str(self.build / "daemon/mayflyd"), "--root", str(self.root)],
            stdout=self.log, stderr=self.log)
        if wait:
            self.wait_ready()
        if init and not (self.root / "var/lib/mayfly/store.db").exists():
            self.mayfly("init", "--environment", self.environment, "--recovery-key-to", self.root / "recovery-key")
        return self

    def log_text(self):
        return (self.root / "mayflyd.log").read_text(errors="replace")

    def wait_ready(self, engines=True):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("mayflyd has ended:\n" + self.log_text()[-3000:])
            status = self.status()
            if not status:
                return False
            return not engines or all(e["state"] == "connected" for e in status["engines"])
        wait_for(ready, "mayflyd is ready", 30)

    def status(self):
        result = self.mayfly("status", "--json", check=False)
        return json.loads(result.stdout) if result.returncode in (0, 1) and result.stdout.strip() else None

    def mayfly(self, *arguments, **options):
        environment = dict(os.environ, MAYFLY_ROOT=str(self.root), NO_COLOR="1")
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        if options["stdin"] is None:
            del options["stdin"]
        return run(self.build / "client/cli/mayfly", *arguments, env=environment, **options)

    def put(self, name, value, *arguments):
        return self.mayfly("put", name, "--exact", *arguments, input=value)

    def policy(self, *grants, file="test"):
        """Writes one policy file and has it read."""
        (self.root / f"etc/mayfly/policy.d/{file}.json").write_text(json.dumps({"grants": list(grants)}))
        self.mayfly("policy", "reload")

    def explain(self, container=None):
        return json.loads(self.mayfly("explain", *([container] if container else []), "--json").stdout)["decision"]

    def audit(self, *arguments):
        text = self.mayfly("audit", "--json", *arguments).stdout
        return json.loads(text)["records"]

    def deliveries(self, *arguments):
        """What the broker says is delivered, through the operator socket."""
        return self.call("ListLeases")["leases"]

    def call(self, method, **parameters):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.root / "run/mayfly/operator.sock"))
            connection.sendall(json.dumps({"method": f"org.mayfly.Operator.{method}", "parameters": parameters}).encode()
                               + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                part = connection.recv(65536)
                if not part:
                    raise EOFError("the broker has closed the connection")
                data += part
        reply = json.loads(data[:-1])
        if "error" in reply:
            raise AssertionError(reply)
        return reply["parameters"]

    def child(self, name):
        """The pid of one of our processes."""
        for pid in processes_below(self.process.pid)[1:]:
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]:
                    return pid
        return None

    def kill(self, name, how=signal.SIGKILL):
        pid = self.child(name)
        os.kill(pid, how)
        return pid

    def stop(self, how=signal.SIGTERM, timeout=10):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout)
        self.log.close()

    def kill_all(self):
        """As if the machine's OOM killer took every process of ours at once."""
        pids = processes_below(self.process.pid)
        others = Ending(pids[1:])
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        others.wait("all of Mayfly's processes have ended")
        self.log.close()

    def close(self):
        pids = processes_below(self.process.pid) if self.process else []
        with contextlib.suppress(Exception):
            self.stop()
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        end_processes_of(self.root)
        if os.environ.get("MAYFLY_TEST_LOGS"):
            print(self.log_text())
        for line in reversed(mounts().splitlines()):
            where = line.split()[1]
            if where.startswith(str(self.root)):
                subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL, check=False)
        for name in self.plugin_names:
            with contextlib.suppress(OSError):
                os.unlink(f"/run/docker/plugins/{name}.sock")
        shutil.rmtree(self.root, ignore_errors=True)


def grant(name, match, *secrets, **more):
    """A grant as it stands in a policy file; secrets are names or objects."""
    return {"name": name, "match": match, "secrets": [{"name": s} if isinstance(s, str) else s for s in secrets], **more}


class EngineCase(unittest.TestCase):
    """Tests against one engine for the class and a Mayfly that they share; containers are removed between tests."""

    cgroup = 1
    remapped = False
    engine_arguments = ()
    plugin = plugin_name()
    build = BUILD
    wrapper = ()  # what mayflyd is started by

    @classmethod
    def make_mayfly(cls):
        return Mayfly([cls.engine], [cls.plugin], cls.build, wrapper=cls.wrapper)

    @classmethod
    def setUpClass(cls):
        cls.engine = Engine(cls.cgroup, cls.engine_arguments, remapped=cls.remapped)
        cls.addClassCleanup(cls.engine.close)
        cls.engine.start()
        cls.engine.import_image()
        cls.mayfly = cls.make_mayfly()
        cls.addClassCleanup(cls.mayfly.close)
        cls.mayfly.start()

    def setUp(self):
        self.addCleanup(self.engine.remove_volumes)
        self.addCleanup(self.engine.remove_containers)

    def volume(self, name="secrets", *options):
        self.engine.docker("volume", "create", "-d", self.plugin, *options, name)
        self.engine.known_volumes.append(name)
        return name
