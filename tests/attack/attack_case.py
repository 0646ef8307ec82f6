"""What every attack stands on: an engine, an image with the intruder, Mayfly or a naive control of it, and the table.

An attack is a function of a Target. It returns what the attacker got, "" for nothing. It runs twice: against a control
(one of our programs with one defence taken out, or a policy that asks for less), where it must get something, and
against Mayfly, where it must get nothing, for the reason that is expected, and with an audit record that says so.
"""
import contextlib
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import BUILD, IMAGE, grant, wait_for

ATTACKS = BUILD / "tests/attack"
INTRUDER = ATTACKS / "intruder"
PROGRAMS = ("mayflyd", "mayfly-broker", "mayfly-mounter", "mayfly-engine")
# Where the host's mount table of version 2 cgroups is on a hybrid host.
UNIFIED = pathlib.Path("/sys/fs/cgroup/unified")

# Holds a container at `create` (before it exists) or at `start` (it has its mounts, and no process of its own runs).
GATED_RUNTIME = """#!/bin/sh
for word; do
	case "$word" in
	create | start)
		while [ -e "{gates}/$word" ]; do sleep 0.01; done
		;;
	esac
done
exec runc "$@"
"""

# Not cat: it sends the file's own pages, which are zeros once the container has ended.
READ = ("--", "dd", "if=/run/secrets/pw", "status=none")

is_quiet = False  # nothing is printed while attacks run
table = []  # rows of (row, attack, control, what the control lost, why Mayfly did not)


class Control:
    """A directory like a build's, where one program is a variant of ours (variants/)."""

    def __init__(self, name):
        self.name = name
        self.build = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-control-"))
        (self.build / "daemon").mkdir()
        (self.build / "client/cli").mkdir(parents=True)
        (self.build / "client/cli/mayfly").symlink_to(BUILD / "client/cli/mayfly")
        replaced = 0
        for program in PROGRAMS:
            variant = ATTACKS / f"{program}.{name}"
            replaced += variant.exists()
            # Not a link: mayflyd looks for its children where it lies itself.
            shutil.copy(variant if variant.exists() else BUILD / "daemon" / program, self.build / "daemon" / program)
        if replaced != 1:
            raise AssertionError(f"{replaced} programs of ours have a variant '{name}'")

    def close(self):
        shutil.rmtree(self.build, ignore_errors=True)


class Target:
    """One Mayfly, or one control, under attack: prod/pw holds a value that nobody has seen."""

    def __init__(self, case, control=None, plugin=None, **options):
        self.case, self.engine, self.control = case, case.engine, control
        self.is_control = control is not None
        self.stack = contextlib.ExitStack()
        self.secret = "canary-" + secrets.token_hex(12)
        # One name for all targets of an engine: it never forgets a plugin, and one that is gone costs it 15 s.
        self.plugin = plugin or f"mayfly-at-{os.getpid()}"
        self.volume = f"v-{secrets.token_hex(4)}"
        self.shared = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-attack-"))
        self.shared.chmod(0o777)
        self.stack.callback(shutil.rmtree, self.shared, ignore_errors=True)
        build = BUILD
        if control in case.CONTROLS:
            variant = Control(control)
            self.stack.callback(variant.close)
            build = variant.build
        self.mayfly = harness.Mayfly([self.engine], [self.plugin], build, **options)
        self.stack.callback(self.mayfly.close)
        self.stack.callback(self.clean_engine)
        self.running = []
        self.has_volume = False

    def start(self):
        self.mayfly.start()
        self.mayfly.put("prod/pw", self.secret)
        self.engine.docker("volume", "create", "-d", self.plugin, self.volume)
        self.engine.known_volumes.append(self.volume)
        self.has_volume = True
        return self

    def close(self):
        self.stack.close()

    def clean_engine(self):
        self.release_holds()
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.engine.remove_containers()
        # Without the plugin the engine would wait for it.
        if self.has_volume and self.mayfly.process.poll() is None:
            self.engine.docker("volume", "rm", "-f", self.volume, check=False)

    # --- policy ---

    def allow(self, match=None, **more):
        """The one grant: containers with the label role=web have prod/pw, unless MATCH says otherwise."""
        if self.control == "fills-at-mount":
            more["release"] = "mount"
        self.mayfly.policy(grant("web", match or {"container.label.role": "web"}, "pw", **more))

    # --- containers ---

    def mount_option(self, target="/run/secrets"):
        return "-v", f"{self.volume}:{target}"

    def command(self, *arguments, image=IMAGE):
        """`docker run`, with a directory /shared that attackers and test have in common."""
        cut = next((i for i, a in enumerate(arguments) if a == "--"), len(arguments))
        options, command = arguments[:cut], arguments[cut + 1:]
        return ["--network", "none", "-v", f"{self.shared}:/shared", *options, image, *command]

    def run(self, *arguments, **options):
        """A container in the foreground: what it and `docker run` say."""
        result = self.engine.docker("run", "--rm", *self.command(*arguments, **options), check=False, timeout=60)
        return result.stdout + result.stderr

    def detach(self, *arguments, **options):
        return self.engine.docker("run", "-d", *self.command(*arguments, **options)).stdout.strip()

    def spawn(self, *arguments, **options):
        """`docker run` that goes on beside the test; what it said comes from said()."""
        process = subprocess.Popen(
            ["docker", "-H", f"unix://{self.engine.socket}", "run", "--rm", *self.command(*arguments, **options)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.running.append(process)
        return process

    def said(self, process, timeout=60):
        output = process.communicate(timeout=timeout)[0]
        return output or ""

    def web(self, *options):
        """Options of a container that the grant is for."""
        return ("-l", "role=web", *self.mount_option(), *options)

    def victim(self, *options, command=("sleep", "600")):
        """A container that has its secret."""
        container = self.detach(*self.web(*options), "--", *command)
        self.wait_released(container)
        return container

    def wait_released(self, container):
        wait_for(lambda: any(d["container_id"] == container and d["state"] == "released"
                             for d in self.mayfly.deliveries()), f"the delivery of {container[:12]} is released", 30)

    def pid(self, container):
        return int(self.engine.inspect(container, ".State.Pid"))

    # --- holding a container at a moment ---

    def hold(self, moment):
        (self.case.gates / moment).touch()

    def release_holds(self):
        for moment in ("create", "start"):
            (self.case.gates / moment).unlink(missing_ok=True)

    def armed(self):
        """The host paths of deliveries, as they are now."""
        directory = self.mayfly.root / "run/mayfly-volumes"
        return [d for d in directory.iterdir() if (d / "pw").is_symlink()] if directory.is_dir() else []

    def hold_armed(self, *options, moment="create", command=("sleep", "600")):
        """Starts a victim and holds it while its delivery is armed. Returns it and the host path."""
        self.hold(moment)
        before = set(self.armed())
        container = self.engine.docker("create", "--runtime", "gated",
                                       *self.command(*self.web(*options), "--", *command)).stdout.strip()
        self.running.append(subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "start", container],
                                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        path = wait_for(lambda: set(self.armed()) - before, "the delivery is armed", 20).pop()
        if moment == "start":
            wait_for(lambda: self.init_of(container), "the container has an init", 20)
        return container, path

    def init_of(self, container):
        """The init that runc has made, as long as the engine does not tell it. It has its mounts when it waits."""
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"/docker/{container}" in (path / "cgroup").read_text() and "runc" in (path / "comm").read_text():
                    if str(self.volume) and "/run/secrets" in (path / "mounts").read_text():
                        return int(path.name)
        return None

    def neighbour(self, *options):
        """Options of a container that has the host's run directory, as far as Mayfly uses it."""
        return ("-v", f"{self.mayfly.root}/run:/x", *options)

    def intrude(self, *options, path="/x/mayfly-volumes", until="armed: "):
        """A neighbour that takes hold of the armed delivery, and tries every way in when go() has been called."""
        script = f"for d in {path}/*; do [ -L $d/pw ] && exec intruder ways $d pw /shared/go; done; echo 'no delivery'"
        process = self.spawn(*options, "--", "sh", "-c", f"({script}) 2>&1 | tee /shared/ways")
        wait_for(lambda: until in self.shared_text("ways") or process.poll() is not None, "the intruder is ready", 30)
        return process

    def go(self):
        (self.shared / "go").touch()

    def shared_text(self, name):
        with contextlib.suppress(FileNotFoundError):
            return (self.shared / name).read_text(errors="replace")
        return ""

    # --- what came of it ---

    def loot(self, text, how="read the value"):
        """"" unless TEXT has the secret. Lines of the intruder say how it got there."""
        said = f": {self.secret}"
        ways = [line.removesuffix(said) for line in text.splitlines() if line.endswith(said)]
        if self.secret not in text:
            return ""
        return f"{how} ({', '.join(ways)})" if ways else how

    def records(self):
        return self.mayfly.audit()


class AttackCase(unittest.TestCase):
    """Attacks on one engine of the class."""

    CONTROLS = frozenset(p.name.split(".", 1)[1] for p in ATTACKS.glob("mayfly*.*") if p.is_file()
                         and os.access(p, os.X_OK))
    engine_arguments = ()

    @classmethod
    def setUpClass(cls):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-engine-"))
        cls.gates = directory / "gates"
        cls.gates.mkdir()
        runtime = directory / "gated"
        runtime.write_text(GATED_RUNTIME.format(gates=cls.gates))
        runtime.chmod(0o755)
        cls.engine = harness.Engine(arguments=["--add-runtime", f"gated={runtime}", *cls.engine_arguments],
                                    directory=directory)
        cls.addClassCleanup(cls.engine.close)
        cls.engine.start()
        cls.engine.import_image(extra=cls.add_to_image)

    @classmethod
    def add_to_image(cls, root):
        shutil.copy(INTRUDER, root / "bin/intruder")
        for command in ("tee", "nsenter", "unshare", "tail", "readlink", "seq", "timeout"):
            with contextlib.suppress(FileExistsError):
                (root / "bin" / command).symlink_to("busybox")

    def target(self, control=None, start=True, **options):
        target = Target(self, control, **options)
        self.addCleanup(target.close)
        return target.start() if start else target

    def compare(self, row, attack, control, reason, says_why=None, tells=None, **options):
        """ATTACK works against CONTROL and fails against Mayfly; REASON (an expression) stands in an audit record then.

        CONTROL that is no variant of a program is a policy, which ATTACK itself makes (target.is_control).
        SAYS_WHY(target) gives other evidence than the audit's; TELLS: an expression that what ATTACK saw must match.
        """
        target = self.target(control, **options)
        loot = self.carry_out(attack, target)
        if not loot:
            self.fail(f"the attack must work against the control '{control}':\n{self.story(target)}")
        target.close()
        target = self.target(**options)
        found = self.carry_out(attack, target)
        if found:
            self.fail(f"Mayfly lost it: {found}\n{self.story(target)}")
        why = says_why(target) if says_why else self.audited(target, reason)
        if tells:
            self.assertRegex(target.told, tells)
        target.close()
        self.note(row, attack, control, loot, why)

    def carry_out(self, attack, target):
        try:
            return attack(target)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            error.add_note(self.story(target))
            raise

    def audited(self, target, reason):
        def find():
            for record in target.records():
                if record["decision"] == "refused" and re.search(reason, record.get("reason", "")):
                    return record["reason"]
            return None
        try:
            return wait_for(find, "the audit record", 5)
        except AssertionError:
            self.fail(f"no refusal in the audit has a reason like '{reason}':\n{self.story(target)}")

    @staticmethod
    def story(target):
        records = []
        with contextlib.suppress(AssertionError):
            records = [f"{r['action']} {r['decision']}: {r.get('reason', '')}" for r in target.records()]
        engine = (target.engine.directory / "dockerd.log").read_text(errors="replace")
        files = [f"--- {f.name}\n{f.read_text(errors='replace')}" for f in target.shared.iterdir() if f.is_file()]
        ended = [p for p in target.running if p.poll() is not None and p.stdout and not p.stdout.closed]
        files += [f"--- docker run, exit {p.returncode}\n{p.communicate()[0]}" for p in ended]
        mayfly = target.mayfly.log_text()[-2000:]
        return "\n".join([*records, "--- mayflyd", mayfly, "--- dockerd", engine[-1500:], *files])

    @staticmethod
    def note(row, attack, control, loot, why):
        title = " ".join((attack.__doc__ or attack.__name__).split())
        table.append((str(row), title, control, loot, why))
        if not is_quiet:
            print(f"# row {row}: {title}\n#   control {control}: {loot}\n#   Mayfly: {why}", flush=True)
