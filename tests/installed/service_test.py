"""mayflyd as a service manager sees it: sockets that are passed, what it is told and when, what a reload says."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("MAYFLY_BUILD", "build")).resolve()
PLUGINS = pathlib.Path("/run/docker/plugins")
DRIVER = f"mayfly-do{os.getpid()}"
GROUP = 100  # Debian's `users`
MUST_RUN = os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1"


def setUpModule():
    if os.geteuid() != 0:
        if MUST_RUN:
            raise RuntimeError("this test must run here, and it needs root")
        raise unittest.SkipTest("it needs root")


def wait_for(condition, what, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.02)


def bind(path):
    """A listening socket as systemd makes it: blocking, for root only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(128)
    return listening


class Service(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-root-"))
        self.root.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.operator = self.root / "run/mayfly/operator.sock"
        self.plugin = PLUGINS / f"{DRIVER}.sock"
        self.config = {"user": 64997, "operator_group": "users", "environment": "prod",
                       "engines": [{"socket": f"{self.root}/no-engine.sock", "plugin_name": DRIVER}]}
        self.write_config()
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notifications.close)
        self.notifications.bind(str(self.root / "notify"))
        self.notifications.settimeout(20)
        self.process = None

    def write_config(self):
        (self.root / "etc/mayfly").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/mayfly/mayflyd.json").write_text(json.dumps(self.config))

    def start(self, passed=(), **environment):
        """Starts mayflyd with the sockets PASSED as descriptors from 3 on, as sd_listen_fds(3) wants them."""
        script = "".join(f"exec {3 + i}<&{100 + i} {100 + i}<&-; " for i in range(len(passed)))
        script += 'LISTEN_PID=$$ exec "$@"'
        numbers = [100 + i for i in range(len(passed))]

        def place():
            for number, one in zip(numbers, passed):
                os.dup2(one.fileno(), number)

        if passed:
            environment["LISTEN_FDS"] = str(len(passed))
        environment.setdefault("NOTIFY_SOCKET", str(self.root / "notify"))
        self.log = open(self.root / "log", "ab")
        self.addCleanup(self.log.close)
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(BUILD / "daemon/mayflyd"), "--root", str(self.root)],
            env={"PATH": os.environ["PATH"], **environment}, preexec_fn=place, close_fds=False, stdout=self.log,
            stderr=self.log)
        self.addCleanup(self.end)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        # Only what a killed mayflyd would leave.
        subprocess.run(["umount", "-l", str(self.root / "run/mayfly-volumes")], stderr=subprocess.DEVNULL, check=False)
        with contextlib.suppress(OSError):
            self.plugin.unlink()

    def told(self):
        return self.notifications.recv(4096).decode()

    def children(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def call(self, method, connection=None, **parameters):
        """One call on the operator's socket; the parameters of its answer."""
        with connection or socket.socket(socket.AF_UNIX) as one:
            one.settimeout(20)
            if connection is None:
                one.connect(str(self.operator))
            one.sendall(json.dumps({"method": f"org.mayfly.Operator.{method}", "parameters": parameters}).encode() + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                part = one.recv(65536)
                self.assertTrue(part, "the broker has closed the connection")
                data += part
        reply = json.loads(data[:-1])
        self.assertNotIn("error", reply)
        return reply["parameters"]

    def activate(self):
        """What an engine says first to a plugin."""
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(20)
            one.connect(str(self.plugin))
            one.sendall(b"POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            return one.recv(4096)


class PassedSockets(Service):
    def test_both_sockets_are_served_and_stay_the_managers(self):
        passed = [bind(self.plugin), bind(self.operator)]
        before = [os.stat(path).st_ino for path in (self.plugin, self.operator)]
        for one in passed:
            self.addCleanup(one.close)
        self.start(passed)
        self.assertEqual(self.told(), "READY=1")
        self.assertEqual(self.call("Status")["state"], "uninitialised")
        self.assertIn(b"VolumeDriver", self.activate())
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(10), 0)
        self.assertEqual(before, [os.stat(path).st_ino for path in (self.plugin, self.operator)])

    def test_who_connected_before_the_start_is_served_and_nobody_is_refused_over_a_restart(self):
        passed = [bind(self.plugin), bind(self.operator)]
        for one in passed:
            self.addCleanup(one.close)
        for _ in range(2):
            early = socket.socket(socket.AF_UNIX)
            early.connect(str(self.operator))
            self.start(passed)
            self.assertEqual(self.told(), "READY=1")
            self.assertEqual(self.call("Status", early)["state"], "uninitialised")
            self.end_process()

    def end_process(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(10), 0)
        self.assertEqual(self.told(), "STOPPING=1")

    def test_the_configured_group_may_use_the_operators_socket_and_nobody_else_the_plugins(self):
        passed = [bind(self.operator), bind(self.plugin)]
        for one in passed:
            self.addCleanup(one.close)
        self.start(passed)
        self.assertEqual(self.told(), "READY=1")
        operator, plugin = os.stat(self.operator), os.stat(self.plugin)
        self.assertEqual((stat.S_IMODE(operator.st_mode), operator.st_gid), (0o660, GROUP))
        self.assertEqual((stat.S_IMODE(plugin.st_mode), plugin.st_uid), (0o600, 0))

    def test_a_socket_at_another_address_is_left_alone_and_reaches_no_child(self):
        other = bind(self.root / "other.sock")
        self.addCleanup(other.close)
        self.start([other, bind(self.operator)])
        self.assertEqual(self.told(), "READY=1")
        self.assertIn(b"VolumeDriver", self.activate())
        number = os.fstat(other.fileno()).st_ino
        for child in self.children():
            for link in pathlib.Path(f"/proc/{child}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                    self.assertNotEqual(os.readlink(link), f"socket:[{number}]")

    def test_descriptors_for_another_process_are_not_taken(self):
        listening = bind(self.operator)
        listening.close()
        self.start([], LISTEN_PID="1", LISTEN_FDS="2")
        self.assertEqual(self.told(), "READY=1")
        self.assertEqual(self.call("Status")["state"], "uninitialised")


class Notifications(Service):
    def test_ready_comes_when_operators_are_served_and_stopping_before_the_end(self):
        self.start()
        self.assertEqual(self.told(), "READY=1")
        self.assertEqual(self.call("Status")["state"], "uninitialised")
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.told(), "STOPPING=1")
        self.assertEqual(self.process.wait(10), 0)
        self.assertLess(time.monotonic() - begun, 2)
        self.assertFalse(self.plugin.exists(), "a plugin socket that nobody serves costs the engine 15 s")
        self.assertFalse(self.operator.exists())

    def test_an_abstract_socket_is_told_too(self):
        name = f"mayfly-do-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(f"\0{name}")
            listening.settimeout(20)
            self.start(NOTIFY_SOCKET=f"@{name}")
            self.assertEqual(listening.recv(100), b"READY=1")

    def test_nothing_is_ready_when_the_configuration_is_broken(self):
        (self.root / "etc/mayfly/mayflyd.json").write_text('{ "enviroment": "prod" }')
        self.start()
        self.assertEqual(self.process.wait(20), 1)
        self.assertEqual(self.told(), "STOPPING=1")
        log = (self.root / "log").read_text()
        self.assertIn("did you mean 'environment'?", log)


class Reload(Service):
    def test_a_restart_is_asked_for_exactly_when_one_is_needed(self):
        self.start()
        self.assertEqual(self.told(), "READY=1")
        for _ in range(3):
            self.assertEqual(self.call("Reload")["restart_needed"], [])
        self.config["engines"][0]["socket"] = f"{self.root}/another.sock"
        self.write_config()
        for _ in range(2):
            self.assertEqual(self.call("Reload")["restart_needed"], ["engines"])
        self.config["engines"][0]["socket"] = f"{self.root}/no-engine.sock"
        self.config["operator_group"] = "staff"
        self.write_config()
        for _ in range(2):
            self.assertEqual(self.call("Reload")["restart_needed"], ["operator_group"])


class Unlocking(Service):
    def init(self, **parameters):
        self.start()
        self.assertEqual(self.told(), "READY=1")
        options = [] if parameters else ["--recovery-key-to", str(self.root / "recovery-key")]
        return self.mayfly("init", *options, *sum(([f"--{k}", v] for k, v in parameters.items()), []))

    def mayfly(self, *words, **options):
        return subprocess.run([str(BUILD / "client/cli/mayfly"), "--root", str(self.root), *words], text=True, capture_output=True, check=False,
                              timeout=60, **({} if "input" in options else {"stdin": subprocess.DEVNULL}), **options)

    def test_a_store_with_a_host_key_is_unlocked_again_by_one_word(self):
        self.assertEqual(self.init().returncode, 0)
        self.assertEqual(self.mayfly("lock").returncode, 0)
        self.assertEqual(self.call("Status")["state"], "locked")
        unlocked = self.mayfly("unlock")
        self.assertEqual(unlocked.returncode, 0, unlocked.stderr)
        self.assertEqual(self.call("Status")["state"], "unlocked")

    def test_a_store_with_a_passphrase_asks_for_it(self):
        (self.root / "passphrase").write_text("correct horse")
        made = self.init(unlock="passphrase", **{"from-file": str(self.root / "passphrase"), "recovery-key-to": str(self.root / "recovery-key")})
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertEqual(self.mayfly("lock").returncode, 0)
        self.assertEqual(self.mayfly("unlock").returncode, 1)
        self.assertEqual(self.mayfly("unlock", input="wrong").returncode, 1)
        self.assertEqual(self.call("Status")["state"], "locked")
        self.assertEqual(self.mayfly("unlock", input="correct horse\n").returncode, 0)
        self.assertEqual(self.call("Status")["state"], "unlocked")
        records = json.loads(self.mayfly("audit", "--action", "unlock", "--json").stdout)["records"]
        # An attempt is recorded before it is made, and again when it fails; looking for a key file that is not there is none.
        self.assertEqual([r["decision"] for r in records], ["granted", "refused", "granted"])
