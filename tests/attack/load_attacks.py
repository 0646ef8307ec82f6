"""Attacks on availability: floods, stops, and many starts at once."""
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

from attack_case import READ, AttackCase, grant, wait_for

HANGS_S = 6
WAITERS = 400
NAMES = int(os.environ.get("MAYFLY_ATTACK_NAMES", "100"))


class LoadAttacks(AttackCase):
    def test_row_68_a_stopped_broker(self):
        def attack(target):
            """The broker is stopped (SIGSTOP) while a container opens a file that is guarded for good."""
            target.allow(guard="always")
            victim = target.victim()
            broker = target.mayfly.kill("mayfly-broker", signal.SIGSTOP)
            begun = time.monotonic()
            opener = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", victim, "cat",
                                       "/run/secrets/pw"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                told = opener.communicate(timeout=HANGS_S)[0]
            except subprocess.TimeoutExpired:
                os.kill(broker, signal.SIGKILL)
                opener.communicate()
                return f"an open hung for {HANGS_S} s"
            self.assertIn(target.secret, told, "the open is answered by the next broker")
            target.told = f"{time.monotonic() - begun:.1f} s"
            return ""

        self.compare(68, attack, "patient", None,
                     says_why=lambda target: f"another broker answered; the open took {target.told}")

    def test_row_68_waiting_opens_beside_an_innocent_start(self):
        def attack(target):
            """A container started below the cgroup of one that is held at its start has copied that one's armed mount:
            hundreds of its threads wait in open, while an innocent container starts and opens its file."""
            target.allow()
            held, _ = target.hold_armed(moment="start")
            target.spawn(*target.neighbour("--cgroup-parent", f"/docker/{held}"), "--", "sh", "-c",
                         f"intruder flood {WAITERS} /x/mayfly-volumes/*/pw /shared >/shared/flood")
            wait_for(lambda: "waiting: " in target.shared_text("flood"), "the opens wait", 20)
            self.assertIn(f"waiting: {WAITERS}", target.shared_text("flood"))
            begun = time.monotonic()
            innocent = target.spawn(*target.web(), *READ)
            try:
                told = target.said(innocent, HANGS_S)
            except subprocess.TimeoutExpired:
                return f"an innocent open waited for {HANGS_S} s"
            target.told = f"beside {WAITERS} waiting opens it was served after {time.monotonic() - begun:.1f} s"
            return "" if target.secret in told else f"the innocent one was not served: {told.strip()}"

        self.compare(68, attack, "one-queue", None, says_why=lambda target: target.told)

    def test_row_23_armed_deliveries_that_never_start(self):
        def attack(target):
            """Containers are started that hold an armed delivery and a fanotify group each, and never run (twelve; one
            against the control), beside an innocent start."""
            target.allow()
            target.hold("create")
            held = 1 if target.is_control else 12
            for _ in range(held):
                target.spawn(*target.web("--runtime", "gated"), "--", "true")
            wait_for(lambda: len(target.armed()) == held, "they are armed", 60)
            process = target.spawn(*target.web(), *READ)
            try:
                told = target.said(process, HANGS_S)
            except subprocess.TimeoutExpired:
                return f"an innocent start waited for {HANGS_S} s"
            self.assertIn(target.secret, told)
            return ""

        self.compare(23, attack, "one-group", None, says_why=lambda target: "it was served beside 12 armed deliveries")

    def test_row_69_a_container_that_answers_no_open_of_its_tmpfs(self):
        def attack(target):
            """A container with CAP_SYS_ADMIN marks its tmpfs with permission events from its first instruction on, and
            answers none: whoever of us opens anything there hangs. Beside it innocent containers start."""
            target.allow(require={"sys_admin": "allow"})
            # Its mark may come after our last open there: then the control has had luck, and is tried again.
            for _ in range(4 if target.is_control else 1):
                intruder = target.detach(*target.web("--cap-add", "SYS_ADMIN"), "--", "intruder", "stall", "/run/secrets")
                wait_for(lambda: "stall: marked" in self.engine.docker("logs", intruder).stdout, "it has its mark", 10)
                ours = [target.mayfly.child(name) for name in ("mayfly-broker", "mayfly-mounter")]
                for _ in range(3):
                    process = target.spawn(*target.web(), *READ)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        if target.secret in target.said(process, HANGS_S):
                            continue
                    return "an innocent start was not served"
                self.engine.docker("kill", intruder)
                wait_for(lambda: not target.mayfly.deliveries(), "its delivery has ended", 10)
                self.assertEqual(ours, [target.mayfly.child(name) for name in ("mayfly-broker", "mayfly-mounter")],
                                 "none of our processes had to be replaced")
            return ""

        self.compare(69, attack, "no-workers", None, says_why=lambda target: "three starts were served beside it")

    def test_row_11_a_name_that_is_used_again(self):
        def attack(target):
            """A container is removed and another one takes its name and its volume, a hundred times, eight names at a
            time; every second one is not what the grant asks for."""
            target.mayfly.policy(*(grant(f"db{i}", {"container.name": f"db{i}", "container.label.role": "web"}, "pw")
                                   for i in range(8)))
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                outcomes = list(pool.map(lambda i: self.reuse(target, f"db{i}"), range(8)))
            stolen, served, asked = map(sum, zip(*outcomes))
            target.told = f"{served} of {asked} containers served, {stolen} impostors"
            self.assertGreater(served, 0.9 * asked, "whoever may have it has it")
            return f"{stolen} impostors read the value" if stolen else ""

        self.compare(11, attack, "name-is-enough", "no grant matches", says_why=lambda target: target.told)

    @staticmethod
    def reuse(target, name):
        """One name, over and over: how many impostors were served, how many others, and of how many."""
        stolen = served = asked = 0
        for i in range(2 if target.is_control else (NAMES + 7) // 8):
            label = "web" if i % 2 == 0 else "other"
            told = target.run("--name", name, "-l", f"role={label}", *target.mount_option(), *READ)
            if label == "other":
                stolen += target.secret in told
            else:
                asked += 1
                served += target.secret in told
        return stolen, served, asked
