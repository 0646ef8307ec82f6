"""What each of the four processes may do, seen from outside while they serve a real engine.

The sandbox is tried as an attacker would who has taken a process over: tests/privileged/inject_call makes the running
process carry out a system call. A control shows each time that the same call works where it is allowed.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile

import harness

INJECT = os.environ.get("MAYFLY_INJECT_CALL", "inject_call")
SANITIZED = os.environ.get("MAYFLY_SANITIZED") == "1"
PROCESSES = ("mayflyd", "mayfly-broker", "mayfly-mounter", "mayfly-engine")
# CHOWN, KILL, SYS_CHROOT, SYS_PTRACE, SYS_ADMIN
MOUNTER_CAPABILITIES = 1 << 0 | 1 << 5 | 1 << 18 | 1 << 19 | 1 << 21
CHILDREN = {"mayfly-broker": 0, "mayfly-mounter": MOUNTER_CAPABILITIES, "mayfly-engine": 0}
PTRACE_ATTACH, PTRACE_DETACH, PR_SET_DUMPABLE = 16, 17, 4
GROUPS = 25  # of fanotify: GUARD_GROUPS_MAX and the shared one


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def unix_names():
    """Path of each named unix socket, by inode; accepted connections carry their listener's."""
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]
    return {parts[6]: parts[7] for parts in (line.split() for line in lines) if len(parts) > 7}


def descriptors(pid):
    """Everything that PID has open, as words: paths, "anon_inode:[...]", "socket PATH", "socket" without a name."""
    names = unix_names()
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                target = f"socket {names.get(target[8:-1], '')}".strip()
            found.append(re.sub(r"^(pipe|mnt):\[\d+\]$", r"\1", target))
    return sorted(found)


def as_uid(uid, action):
    """Runs ACTION in a forked child that has become UID; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 99
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            status = action()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def spy_on(pid):
    """As the calling uid: 1 if memory could be opened, 2 if tracing worked, 4 if memory could be read by call."""
    libc = ctypes.CDLL(None, use_errno=True)

    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    got = 0
    with contextlib.suppress(OSError):
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
        got |= 1
    if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) == 0:
        os.waitpid(pid, 0x40000000)
        libc.ptrace(PTRACE_DETACH, pid, 0, 0)
        got |= 2
    buffer = ctypes.create_string_buffer(8)
    address = ctypes.addressof(buffer)  # mapped in a forked copy too; elsewhere EFAULT comes after the permission
    local, remote = Part(address, 8), Part(address, 8)
    ctypes.set_errno(0)
    if libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) >= 0 or ctypes.get_errno() == 14:
        got |= 4
    return got


class Privileges(harness.EngineCase):
    plugin = f"mayfly-hu-priv-{os.getpid()}"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db", "a value")
        cls.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "db"))

    def pid(self, name):
        """The pid of a process that has entered its sandbox."""
        if name == "mayflyd":
            return self.mayfly.process.pid
        return harness.wait_for(
            lambda: (pid := self.mayfly.child(name)) and status_of(pid)["Seccomp"] == "2" and pid,
            f"{name} is in its sandbox",
        )

    def start_container(self, name="web"):
        volume = self.volume(f"privileges-{os.getpid()}")
        container = self.engine.container(
            "--name",
            name,
            "-v",
            f"{volume}:/run/secrets",
            harness.IMAGE,
            "sh",
            "-c",
            "cat /run/secrets/db > /dev/null; sleep 600",
        )
        harness.wait_for(lambda: self.mayfly.status()["released"] == 1, "the files are released")
        return container

    def inject(self, name, *call):
        result = harness.run(INJECT, self.pid(name), *call, check=False)
        harness.need(result.returncode != 77, result.stdout.strip())
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def attack(self, name, *call):
        """The answer to a call that may cost NAME its life; the next one is waited for."""
        before = self.pid(name)
        answer = self.inject(name, *call)
        if answer.startswith("killed"):
            harness.wait_for(lambda: self.mayfly.child(name) not in (None, before), f"another {name} is there")
            self.mayfly.wait_ready()
        return answer

    def test_ids_and_capabilities_are_those_of_the_design(self):
        for name, capabilities in CHILDREN.items():
            with self.subTest(name):
                status = status_of(self.pid(name))
                uid = str(harness.USER) if name == "mayfly-broker" else "0"
                self.assertEqual(status["Uid"].split(), [uid] * 4)
                self.assertEqual(status["Gid"].split(), [uid] * 4)
                self.assertEqual(status["Groups"], "")
                self.assertEqual(
                    {key: int(status[key], 16) for key in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")},
                    {"CapPrm": capabilities, "CapEff": capabilities, "CapInh": 0, "CapBnd": 0, "CapAmb": 0},
                )

    def test_every_child_sits_behind_a_filter_and_cannot_gain_privileges(self):
        for name in CHILDREN:
            with self.subTest(name):
                pid = self.pid(name)
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    status = status_of(f"{pid}/task/{task.name}")
                    self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), task.name)

    def test_the_supervisor_and_the_mounter_have_one_thread(self):
        for name in ("mayflyd", "mayfly-mounter"):
            self.assertEqual(status_of(self.pid(name))["Threads"], "1", name)

    def test_no_process_leaves_a_core_file(self):
        for name in PROCESSES:
            limits = pathlib.Path(f"/proc/{self.pid(name)}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ", name)

    def test_no_process_is_dumpable(self):
        # What belongs to an undumpable process in /proc belongs to root; of the others only the broker has another uid.
        self.assertEqual(os.stat(f"/proc/{self.pid('mayfly-broker')}/environ").st_uid, 0)
        uid = harness.USER
        ready, tell = os.pipe()
        victim = os.fork()
        if victim == 0:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            os.write(tell, b"x")
            signal.pause()
        try:
            os.read(ready, 1)
            self.assertEqual(
                as_uid(uid, lambda: spy_on(victim)), 7, "the control: an ordinary process of that uid is open"
            )
        finally:
            os.kill(victim, signal.SIGKILL)
            os.waitpid(victim, 0)
            os.close(ready)
            os.close(tell)
        self.assertEqual(as_uid(uid, lambda: spy_on(self.pid("mayfly-broker"))), 0)

    def test_the_broker_writes_nowhere_but_in_its_state_directory(self):
        with tempfile.TemporaryDirectory(prefix="mayfly-open-") as directory:
            os.chmod(directory, 0o777)
            state = self.mayfly.root / "var/lib/mayfly/injected"
            number = re.fullmatch(r"ok (\d+)", self.attack("mayfly-broker", "create", state))
            self.assertTrue(number, "the control: its own directory")
            self.inject("mayfly-broker", "close", number[1])
            state.unlink()
            # The directory is everybody's: it is Landlock that says no.
            self.assertEqual(self.attack("mayfly-broker", "create", f"{directory}/injected"), "refused EACCES")
            self.assertEqual(os.listdir(directory), [])

    def test_no_child_runs_a_program_or_reaches_a_network(self):
        for name in CHILDREN:
            for call in (("execute", "/bin/true"), ("connect-internet",)):
                with self.subTest(f"{name} {call[0]}"):
                    self.assertEqual(self.attack(name, *call), "killed SYS")

    def test_the_engine_process_reads_the_engines_files_only(self):
        passwd = pathlib.Path("/etc/passwd")
        self.assertTrue(passwd.stat().st_mode & stat.S_IROTH)
        readable = next(self.engine.data_root.glob("image/*/repositories.json"))
        number = re.fullmatch(r"ok (\d+)", self.attack("mayfly-engine", "read", readable))
        self.assertTrue(number, "the control: a file of the engine's")
        self.inject("mayfly-engine", "close", number[1])
        for path in (passwd, self.mayfly.root / "etc/mayfly/host.key", self.mayfly.root / "var/lib/mayfly/store.db"):
            self.assertEqual(self.attack("mayfly-engine", "read", path), "refused EACCES", path)

    def test_the_engine_process_and_the_mounter_write_no_file(self):
        # A sanitizer's runtime writes its reports: the filter lets it, and only Landlock holds the engine process.
        expected = (
            {"mayfly-engine": "refused EACCES"}
            if SANITIZED
            else dict.fromkeys(("mayfly-engine", "mayfly-mounter"), "killed SYS")
        )
        for name, answer in expected.items():
            self.assertEqual(self.attack(name, "create", self.engine.directory / "injected"), answer, name)

    def test_the_mounter_sees_its_arena_and_nothing_of_the_host(self):
        pid = self.pid("mayfly-mounter")
        own = os.readlink("/proc/self/ns/mnt")
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/mnt"), own)
        for name in ("mayflyd", "mayfly-broker", "mayfly-engine"):
            self.assertEqual(os.readlink(f"/proc/{self.pid(name)}/ns/mnt"), own, name)
        lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertIn(" tmpfs ", line.split(" - ")[1].join("  "), line)
        # A delivery is one more tmpfs below the same root.
        self.start_container()
        more = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        self.assertEqual(len(more), len(lines) + 1)
        self.assertEqual({line.split(" - ")[1].split()[0] for line in more}, {"tmpfs"})

    def check_open(self, name, allowed):
        """Everything that NAME has open matches one of ALLOWED: (pattern, at most how many)."""
        left = dict(allowed)
        for what in descriptors(self.pid(name)):
            pattern = next((p for p in left if re.fullmatch(p, what)), None)
            self.assertIsNotNone(pattern, f"{name} has {what} open")
            left[pattern] -= 1
            self.assertGreaterEqual(left[pattern], 0, f"{name} has more of {what} open")

    def test_each_process_has_only_its_own_descriptors(self):
        root, log = re.escape(str(self.mayfly.root)), {
            r"/dev/null": 2,
            re.escape(str(self.mayfly.root / "mayflyd.log")): 2,
        }
        loop = {r"anon_inode:\[eventpoll\]": 1, r"anon_inode:\[eventfd\]": 1, "pipe": 4}
        groups = {r"anon_inode:\[fanotify\]": GROUPS}
        plugin = re.escape(f"/run/docker/plugins/{self.plugin}.sock")
        self.check_open(
            "mayflyd",
            {
                **log,
                **groups,
                r"anon_inode:\[signalfd\]": 1,
                rf"{root}/var/lib/mayfly/mayflyd.lock": 1,
                rf"socket {plugin}": 1,
                rf"socket {root}/run/mayfly/operator.sock": 1,
                rf"socket {root}/run/mayfly/container/container.sock": 1,
                rf"{root}/run/mayfly-volumes": 1,
                rf"{root}/etc/mayfly/host.key": 1,
                "mnt": 1,
                "socket": 3,
            },
        )
        self.check_open(
            "mayfly-broker",
            {
                **log,
                **loop,
                **groups,
                r"anon_inode:\[timerfd\]": 1,  # of all leases' ends
                rf"{root}/var/lib/mayfly/(state|store).db(-wal)?": 4,
                rf"{root}/var/lib/mayfly/audit": 1,
                rf"{root}/var/lib/mayfly/audit/audit.jsonl": 1,
                rf"{root}/etc/mayfly/host.key": 1,
                "/proc": 1,
                r"/sys/fs/cgroup/\w+": 4,
                rf"socket {plugin}": 8,
                rf"socket {root}/run/mayfly/operator.sock": 2,
                rf"socket {root}/run/mayfly/container/container.sock": 1,
                "socket": 3,
                r"anon_inode:\[pidfd\]|pidfd:.*": 2,
            },
        )
        self.check_open(
            "mayfly-mounter",
            {**log, **groups, "/proc": 1, "mnt": 2, "/": 1, rf"{root}/run/mayfly-volumes": 1, "socket": 2},
        )
        self.check_open(
            "mayfly-engine",
            {**log, **loop, "/": 2, "socket": 12, r"anon_inode:inotify": 1, re.escape(str(self.engine.data_root)): 1},
        )

    def test_no_descriptor_is_left_over_from_what_is_done(self):
        """The first round opens what stays open: connections, databases' files."""

        def work(count):
            for i in range(count):
                self.start_container(f"web{i}")
                self.mayfly.mayfly("put", f"prod/leak-{i}", "--stage", input=f"value {i}")
                self.mayfly.mayfly("put", "prod/leak/../x", check=False, input="x")
                self.engine.docker("rm", "-f", f"web{i}")
                harness.wait_for(lambda: self.mayfly.status()["released"] == 0, "the delivery has ended")

        work(3)
        before = {name: len(descriptors(self.pid(name))) for name in PROCESSES}
        work(8)
        for name in PROCESSES:
            harness.wait_for(
                lambda n=name: len(descriptors(self.pid(n))) <= before[n],
                f"{name} has {before[name]} descriptors again",
                5,
            )

    def test_a_broker_that_crashes_leaves_no_core_file(self):
        pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
        harness.need(not pattern.startswith(("|", "/")), f"core files go to {pattern}")
        limits = ["prlimit", "--core=unlimited:unlimited"]
        with tempfile.TemporaryDirectory(prefix="mayfly-core-") as directory:
            os.chmod(directory, 0o777)
            crash = subprocess.run([*limits, "env", "-C", directory, "sh", "-c", "kill -SEGV $$"], check=False)
            self.assertEqual(crash.returncode, -signal.SIGSEGV)
            cores = os.listdir(directory)
            self.assertEqual(len(cores), 1, "the control: an ordinary process leaves one there")
            os.unlink(f"{directory}/{cores[0]}")
            other = harness.Mayfly([self.engine], [f"{self.plugin}-core"], wrapper=[*limits, "env", "-C", directory])
            try:
                other.start()
                other.put("prod/db", "a value")
                for name in CHILDREN:
                    before = other.child(name)
                    os.kill(before, signal.SIGSEGV)
                    harness.wait_for(
                        lambda n=name, b=before: other.child(n) not in (None, b), f"another {name} is there"
                    )
                self.assertEqual(os.listdir(directory), [])
            finally:
                other.close()
