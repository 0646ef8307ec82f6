"""What attacks at the container socket stand on: one engine, one Mayfly and one control at a time for a whole class.

An attack asks for its container and gets nothing else than any other: so the containers that need no options of their
own (`victim`, whom the grant is for, and `mallory`, whom none is for) live as long as the class. They see the sockets
of all instances below /m.
"""
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import harness
from attack_case import ATTACKS, UNIFIED, AttackCase, Target, grant, wait_for
from harness import BUILD, IMAGE

CALLER = ATTACKS / "caller"
CALL = BUILD / "tests/engine/varlink_call"
HIERARCHIES = ("unified", "pids", "memory", "systemd")


class SocketTarget(Target):
    """One Mayfly, or one control, that serves several attacks one after the other."""

    def start(self):
        self.mayfly.config.update(self.case.config)
        self.mayfly.write_config()
        self.mayfly.start()
        self.mayfly.put("prod/pw", self.secret)
        # Below it, as containers see it.
        self.inside = f"/m/{self.mayfly.root.name}/run/mayfly/container/container.sock"
        self.socket = self.mayfly.root / "run/mayfly/container/container.sock"
        return self

    def begin(self, policy_control):
        """Before each attack."""
        self.is_control = policy_control or self.control in self.case.CONTROLS
        for path in self.case.common.iterdir():
            path.unlink() if not path.is_dir() else shutil.rmtree(path)
        self.shared = self.case.common
        self.told = ""
        records = self.mayfly.audit()
        self.before = records[-1]["seq"] if records else 0
        self.allow()

    def records(self, *arguments):
        return [r for r in self.mayfly.audit(*arguments) if r["seq"] > self.before]

    def close(self):
        """After each attack: nothing of it is left."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            if process.stdout and not process.stdout.closed:
                process.communicate()
        self.running = []
        self.engine.remove_containers()
        for container in {d["container"] for d in self.mayfly.deliveries()} & set(self.case.ids):
            found = self.call(container, "Watch")["parameters"]
            if "delivery" in found:
                self.call(container, "Release", {"lease": found["delivery"]["lease"]})
        wait_for(lambda: not self.mayfly.deliveries(), "nothing is delivered any more", 20)

    def end(self):
        super().close()

    def clean_engine(self):
        """Is done after each attack."""

    # --- containers and what they ask ---

    def command(self, *arguments, image=IMAGE):
        return super().command("-v", f"{self.case.sockets}:/m:ro", *arguments, image=image)

    def allow(self, match=None, **more):
        more.setdefault("secret", {"name": "pw", "mode": "0444"})
        self.mayfly.policy(grant("web", match or {"container.label.role": "web"}, more.pop("secret"), **more))

    def exec(self, container, *command, options=(), **more):
        more.setdefault("check", False)
        result = self.engine.docker("exec", *options, container, *command, **more)
        return result.stdout + result.stderr

    def exec_beside(self, container, *command):
        """`docker exec` that goes on beside the test; its output is read from there."""
        process = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", container, *command],
                                   text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.running.append(process)
        return process

    def call(self, container, method="Request", parameters=None, *options):
        """The reply of one call from within CONTAINER."""
        text = self.exec(container, "call", *options, method, json.dumps(parameters or {}),
                         options=("-e", f"MAYFLY_SOCKET={self.inside}"))
        return self.reply(text)

    @staticmethod
    def reply(text):
        found = re.search(r"^(?:reply: )?(\{.*\})$", text, re.MULTILINE)
        return json.loads(found.group(1)) if found else {"error": text.strip(), "parameters": {}}

    @staticmethod
    def why(reply):
        return reply.get("parameters", {}).get("text") or reply.get("error", "")

    def delivered(self, container="victim"):
        reply = self.call(container)
        if "error" in reply:
            raise AssertionError(f"{container} must have its own: {reply}")
        return reply["parameters"]["delivery"]

    def taken_for(self, reply, container="victim"):
        """What the caller got who had WhoAmI's REPLY, where it is not CONTAINER."""
        return f"it was answered as {container}" if reply.get("parameters", {}).get("container") == container else ""

    def read(self, container, path="/run/secrets/pw"):
        return self.exec(container, "cat", path)

    def pids(self, name, container):
        """Host pids of the processes called NAME in CONTAINER, the oldest first."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "comm").read_text().strip() == name and container in (path / "cgroup").read_text():
                    found.append(int(path.name))
        return sorted(found)


class SocketCase(AttackCase):
    """CONFIG: what stands in the configuration of all instances beside the usual."""

    config = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="ms-"))
        cls.directory.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.sockets = cls.directory / "m"
        cls.common = cls.directory / "shared"
        for path, mode in ((cls.sockets, 0o755), (cls.common, 0o777)):
            path.mkdir()
            path.chmod(mode)
        cls.kept = {}
        cls.addClassCleanup(cls.end_all)
        cls.ids = {}
        for name, role in (("victim", "web"), ("mallory", "other")):
            cls.ids[name] = cls.engine.container(
                "--name", name, "-l", f"role={role}", "-v", f"{cls.sockets}:/m:ro", "-v", f"{cls.common}:/shared", IMAGE,
                "sleep", "3600")
        cls.engine.keep = ["victim", "mallory"]

    @classmethod
    def end_all(cls):
        for target in cls.kept.values():
            target.end()

    @classmethod
    def add_to_image(cls, root):
        super().add_to_image(root)
        shutil.copy(CALLER, root / "bin/caller")
        shutil.copy(CALL, root / "bin/call")

    @classmethod
    def end_control(cls):
        for old in [k for k in cls.kept if k is not None]:
            cls.kept.pop(old).end()

    def target(self, control=None):
        """Mayfly stays, and of the controls the one that was used last."""
        is_variant = control in self.CONTROLS
        key = control if is_variant else None
        if key not in self.kept:
            if key is not None:
                self.end_control()
            # At the same time as Mayfly: under another name.
            target = SocketTarget(self, key, below=self.sockets, plugin=f"mayfly-as{bool(key):d}-{harness.os.getpid()}")
            self.kept[key] = target
            target.start()
        target = self.kept[key]
        target.case = self
        target.begin(control is not None and not is_variant)
        self.addCleanup(target.close)
        return target

    @contextlib.contextmanager
    def moved(self, pid, path):
        """The process PID of a container, as somebody with a writable cgroup file system moves it to PATH ("docker/ID"),
        which is made where it is missing; back to where it was afterwards."""
        before = {}
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, place = line.split(":", 2)
            before["unified" if not names else names.removeprefix("name=").split(",")[0]] = place
        made = []
        try:
            for hierarchy in HIERARCHIES:
                directory = UNIFIED.parent / hierarchy / path
                if hierarchy in before and (UNIFIED.parent / hierarchy).is_dir():
                    if not directory.exists():
                        directory.mkdir(parents=True)
                        made.append(directory)
                    (directory / "cgroup.procs").write_text(str(pid))
            yield
        finally:
            for hierarchy in HIERARCHIES:
                with contextlib.suppress(OSError, KeyError):
                    (UNIFIED.parent / hierarchy / before[hierarchy].lstrip("/") / "cgroup.procs").write_text(str(pid))
            for directory in made:
                wait_for(lambda d=directory: not (d / "cgroup.procs").read_text(), "the cgroup is empty", 10)
                directory.rmdir()
