"""New values for what runs: files that change together, applications that are told, changes that are taken back."""
import json
import os
import pathlib
import signal
import time

import harness
from harness import IMAGE, EngineCase, grant, wait_for

# Reads pairs out of one opened ..data, and tells when the two are not of one generation.
READER = r"""
cd /run/secrets
n=0
while :; do
  cd -P ..data 2>/dev/null || continue
  a=$(cat a); b=$(cat b)
  [ "$a" = "$b" ] || echo "mixed: $a $b"
  n=$((n + 1)); echo "$n" >/tmp/reads
  cd /run/secrets
done
"""


class RotationCase(EngineCase):
    plugin = harness.plugin_name("rotate")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.number = 0

    def setUp(self):
        super().setUp()
        type(self).number += 1
        self.volume()
        self.a, self.b = (f"prod/{letter}{self.number}" for letter in "ab")
        for name in (self.a, self.b):
            self.mayfly.put(name, "first")

    def allow(self, match="web", a=None, b=None, **more):
        self.mayfly.policy(grant("web", {"container.name": match}, {"name": self.a[5:], "as": "a", **(a or {})},
                                 {"name": self.b[5:], "as": "b", **(b or {})}, **more))

    def start(self, name="web", *options, command=("sleep", "600")):
        return self.engine.docker("run", "-d", "--name", name, "-v", "secrets:/run/secrets:ro", *options, IMAGE,
                                  *command).stdout.strip()

    def rotate(self, value, *options, names=None, check=True, **more):
        """Both names get VALUE."""
        directory = self.mayfly.root / "new"
        directory.mkdir(exist_ok=True)
        for name in names or (self.a, self.b):
            (directory / name[5:]).write_text(value)
        return self.mayfly.mayfly("rotate", *(names or (self.a, self.b)), "--from-dir", directory, *options, check=check,
                                  **more)

    def read(self, container="web", name="a"):
        return self.engine.exec(container, "cat", f"/run/secrets/{name}").stdout

    def history(self, name):
        return {v["state"]: v["number"] for v in json.loads(self.mayfly.mayfly("history", name, "--json").stdout)["versions"]}


class Rotating(RotationCase):
    def test_every_container_that_has_it_gets_the_new_value(self):
        self.allow("web*")
        for n in range(3):
            self.start(f"web-{n}")
        result = self.rotate("second", "--wait")
        self.assertIn("version 2 is in force", result.stdout)
        for n in range(3):
            self.assertRegex(result.stdout, rf"web-{n}  NOT told: its grant says nothing of it")
            self.assertEqual([self.read(f"web-{n}", name) for name in "ab"], ["second", "second"])
        self.start("web-new")
        self.assertEqual(self.read("web-new"), "second")
        self.assertEqual(self.history(self.a), {"current": 2, "previous": 1})

    def test_the_same_value_again_changes_nothing(self):
        self.allow()
        self.start()
        result = self.rotate("first", "--wait")
        self.assertIn("unchanged", result.stderr)
        self.assertEqual(self.history(self.a), {"current": 1})

    def test_a_name_that_does_not_exist_leaves_the_others_alone(self):
        result = self.rotate("second", names=(self.a, "prod/nothing-like-it"), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing-like-it", result.stderr)
        self.assertEqual(self.history(self.a), {"current": 1})

    def test_a_generated_value_reaches_the_container_and_nobody_else(self):
        self.allow()
        self.start()
        result = self.mayfly.mayfly("rotate", self.a, "--generate", "--length", "20", "--wait")
        value = self.read()
        self.assertRegex(value, "^[A-Za-z0-9]{20}$")
        self.assertNotIn(value, result.stdout + result.stderr)
        self.assertEqual(self.read(name="b"), "first")

    def test_previous_and_templates_follow(self):
        self.mayfly.policy(grant("web", {"container.name": "web"},
                                 {"name": self.a[5:], "as": "a", "versions": ["current", "previous"]},
                                 {"template": "x={{%s|url}}" % self.a[5:], "as": "t"}))
        self.mayfly.mayfly("rotate", self.a, input="second")
        self.start()
        self.assertEqual([self.read(name=n) for n in ("a", "a.previous", "t")], ["second", "first", "x=second"])
        self.rotate("third", "--wait", names=(self.a,))
        self.assertEqual([self.read(name=n) for n in ("a", "a.previous", "t")], ["third", "second", "x=third"])

    def test_the_plain_layout_changes_in_place(self):
        self.allow(layout="plain")
        self.start()
        for value in ("second", "third"):
            self.rotate(value, "--wait")
            self.assertEqual([self.read(name=name) for name in "ab"], [value, value])
            self.assertEqual(self.engine.exec("web", "ls", "-A", "/run/secrets").stdout.split(), ["a", "b"])

    def test_a_reader_of_one_generation_keeps_it_for_the_grace_time_and_then_reads_nothing(self):
        self.allow()
        self.start()
        init = self.engine.inspect("web", ".State.Pid").strip()
        directory = os.open(f"/proc/{init}/root/run/secrets/..data/.", os.O_RDONLY)
        self.addCleanup(os.close, directory)
        held = os.open("a", os.O_RDONLY, dir_fd=directory)
        self.addCleanup(os.close, held)
        self.rotate("second", "--wait")
        self.assertEqual(os.pread(held, 99, 0), b"first")
        self.assertEqual(set(os.listdir(directory)) - {".mayfly.json"}, {"a", "b"})
        wait_for(lambda: os.pread(held, 99, 0) == b"", "the older generation is emptied", 20)
        self.assertEqual(self.read(), "second")

    def test_a_rotation_back_and_forth(self):
        self.allow()
        self.start()
        self.rotate("second")
        self.mayfly.mayfly("rollback", self.a, self.b, "--wait")
        self.assertEqual([self.read(name=name) for name in "ab"], ["first", "first"])
        self.mayfly.mayfly("rollback", self.a, "--wait")
        self.assertEqual([self.read(name=name) for name in "ab"], ["second", "first"])
        result = self.mayfly.mayfly("rollback", "prod/once", check=False)
        self.assertEqual(result.returncode, 1)

    def test_what_a_grant_takes_away_is_not_renewed(self):
        self.allow()
        self.start()
        self.mayfly.policy()
        result = self.rotate("second", "--wait", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, "web  failed: it keeps what it has: no grant")
        self.assertEqual(self.read(), "first")


class Telling(RotationCase):
    TRAP = "trap 'cat /run/secrets/a >/tmp/$1 2>/dev/null; echo $1 >>/tmp/told' "
    SLEEPS = "echo ready >/tmp/ready; while :; do sleep 0.05; done"

    def told(self, container="web"):
        return self.engine.exec(container, "cat", "/tmp/told", check=False).stdout.split()

    def wait_told(self, expected):
        wait_for(lambda: self.told() == expected, f"the application is told {expected}")

    def trapping(self, *signals):
        traps = "".join(f"trap 'echo {s} >>/tmp/told; cat /run/secrets/a >/tmp/read' {s}; " for s in signals)
        self.start(command=("sh", "-c", traps + self.SLEEPS))
        wait_for(lambda: self.engine.exec("web", "cat", "/tmp/ready", check=False).stdout, "the container's traps")

    def test_a_signal_to_the_first_process_which_then_reads_the_new_value(self):
        self.allow(on_rotate={"signal": "HUP"})
        self.trapping("HUP")
        result = self.rotate("second", "--wait")
        self.assertIn("web  told HUP", result.stdout)
        self.wait_told(["HUP"])
        wait_for(lambda: self.engine.exec("web", "cat", "/tmp/read").stdout == "second", "it has read the new value")

    def test_a_signal_to_a_process_by_its_name(self):
        self.allow(on_rotate={"signal": "USR1", "process": "worker"})
        script = ("printf worker >/proc/$$/comm; trap 'echo USR1 >>/tmp/told' USR1; echo ready >/tmp/ready; "
                  "while :; do sleep 0.05; done")
        self.start(command=("sh", "-c", f'sh -c "$0" & exec sleep 600', script))
        wait_for(lambda: self.engine.exec("web", "cat", "/tmp/ready", check=False).stdout, "the worker runs")
        result = self.rotate("second", "--wait")
        self.assertIn("web  told USR1 to worker", result.stdout)
        self.wait_told(["USR1"])

    def test_a_process_that_is_not_there_is_said(self):
        self.allow(on_rotate={"signal": "HUP", "process": "nothing"})
        self.start()
        result = self.rotate("second", "--wait")
        self.assertIn("web  NOT told: HUP to nothing: no process of the container has this name", result.stdout)
        self.assertEqual(self.read(), "second")

    def test_a_process_of_the_host_is_never_meant(self):
        """This test's own processes have the name too."""
        name = pathlib.Path("/proc/self/comm").read_text().strip()
        heard = []
        before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(1))
        self.addCleanup(signal.signal, signal.SIGUSR2, before)
        self.allow(on_rotate={"signal": "USR2", "process": name})
        self.start()
        self.assertIn("NOT told", self.rotate("second", "--wait").stdout)
        self.assertEqual(heard, [])

    def test_a_restart(self):
        self.allow(on_rotate="restart")
        self.start(command=("sh", "-c", "cat /run/secrets/a >>/tmp/read; trap exit TERM; while :; do sleep 0.1; done"))
        started = self.engine.inspect("web", ".State.StartedAt")
        result = self.rotate("second", "--wait")
        self.assertIn("web  restarted", result.stdout)
        self.assertNotEqual(self.engine.inspect("web", ".State.StartedAt"), started)
        wait_for(lambda: self.engine.exec("web", "cat", "/tmp/read", check=False).stdout == "firstsecond",
                 "it has started with the new value")

    def test_a_grant_that_needs_no_telling(self):
        self.allow(on_rotate="none")
        self.start()
        self.assertIn("web  changed; its grant says that it needs no telling", self.rotate("second", "--wait").stdout)


class TakingBack(RotationCase):
    HEALTH = ("--health-cmd", "test \"$(cat /run/secrets/a)\" != bad", "--health-interval", "300ms", "--health-retries", "1")

    def started_healthy(self, name="web", *options):
        self.start(name, *self.HEALTH, *options)
        wait_for(lambda: self.engine.inspect(name, ".State.Health.Status") == "healthy", f"{name} is healthy")

    def test_a_container_that_turns_unhealthy_takes_it_back_everywhere(self):
        self.allow("web*", rollback_if_unhealthy_within="60s", on_rotate="none")
        self.started_healthy()
        self.start("web-other")
        result = self.rotate("bad", "--wait", check=False, timeout=60)
        self.assertEqual(result.returncode, 1)
        self.assertIn("rolling back: web has turned unhealthy: its own health check says so", result.stdout)
        self.assertRegex(result.stdout, "web-other  rolled back, changed")
        self.assertIn("the rotation was rolled back", result.stderr)
        for name in ("web", "web-other"):
            self.assertEqual([self.read(name, n) for n in "ab"], ["first", "first"])
        wait_for(lambda: self.engine.inspect("web", ".State.Health.Status") == "healthy", "web is healthy again")
        self.assertEqual(self.history(self.a)["current"], 3)
        told = [(r["action"], r.get("reason", "")) for r in self.mayfly.audit()]
        self.assertIn(("rollback", "web has turned unhealthy: its own health check says so"), told)

    def test_a_container_that_ends_takes_it_back(self):
        self.allow(rollback_if_unhealthy_within="60s", on_rotate="restart")
        self.start("web", "--restart", "always",
                   command=("sh", "-c", "[ $(cat /run/secrets/a) = bad ] && { sleep 1; exit 3; }; "
                                                            "trap exit TERM; while :; do sleep 0.1; done"))
        result = self.rotate("bad", "--wait", check=False, timeout=60)
        self.assertIn("rolling back: web has ended", result.stdout)
        wait_for(lambda: self.engine.exec("web", "cat", "/run/secrets/a", check=False).stdout == "first",
                 "the container is back with the old value", 30)

    def test_one_that_stays_well_keeps_it(self):
        self.allow(rollback_if_unhealthy_within="2s", on_rotate="none")
        self.started_healthy()
        result = self.rotate("good", "--wait", timeout=60)
        self.assertIn("their health is watched for 2 s", result.stdout)
        self.assertEqual(self.read(), "good")

    def test_a_canary_that_falls_ill_spares_the_others(self):
        self.allow("web*", rollback_if_unhealthy_within="60s", on_rotate="none")
        self.started_healthy("web-0")
        ids = [self.start(f"web-{n}") for n in (1, 2)]
        changed = self.engine.exec("web-1", "stat", "-c", "%i", "/run/secrets/..data/a").stdout
        result = self.rotate("bad", "--wait", "--canary", "1", check=False, timeout=60)
        self.assertIn("rolling back: web-0 has turned unhealthy", result.stdout)
        self.assertNotIn("web-1  changed", result.stdout)
        self.assertEqual(self.engine.exec("web-1", "stat", "-c", "%i", "/run/secrets/..data/a").stdout, changed)
        self.assertEqual(len(ids), 2)

    def test_a_roll_back_that_is_refused_leaves_no_rotation_behind(self):
        """One of the secrets has been changed since: none is taken back, and starts get what is current, once."""
        self.allow("web*", rollback_if_unhealthy_within="60s", on_rotate="none")
        self.start("web-0")
        self.rotate("second")
        wait_for(lambda: self.read("web-0") == "second", "web-0 has it")
        self.mayfly.put(self.b, "third", "--stage")
        self.engine.docker("kill", "web-0")
        wait_for(lambda: "is not taken back" in self.mayfly.log_text(), "it is said that nothing is taken back")
        container = self.start("web-1")
        wait_for(lambda: self.read("web-1") == "second", "web-1 has its files")
        time.sleep(3)
        self.assertEqual(self.read("web-1", "b"), "third")
        releases = [r for r in self.mayfly.audit() if r["action"] == "release" and r.get("container_id") == container]
        self.assertEqual(len(releases), 1, releases)

    def test_a_canary_is_watched_for_a_while_also_when_its_grant_says_nothing(self):
        self.allow("web*", on_rotate="none")
        self.started_healthy("web-0")
        self.start("web-1")
        result = self.rotate("bad", "--wait", "--canary", "1", check=False, timeout=60)
        self.assertIn("rolling back: web-0 has turned unhealthy", result.stdout)
        self.assertNotIn("web-1  changed", result.stdout)

    def test_a_canary_that_stays_well_is_followed_by_the_others(self):
        self.allow("web*", rollback_if_unhealthy_within="1s", on_rotate="none")
        for n in range(3):
            self.start(f"web-{n}")
        result = self.rotate("good", "--wait", "--canary", "1", timeout=60)
        self.assertIn("then the others follow", result.stdout)
        for n in range(3):
            self.assertEqual(self.read(f"web-{n}"), "good")

    def test_apply_comes_first_and_is_swapped_on_the_way_back(self):
        log = self.mayfly.root / "applied"
        command = f'printf "%s %s->%s\\n" $MAYFLY_SECRET "$(cat <&3)" "$(cat <&4)" >>{log}'
        self.allow(rollback_if_unhealthy_within="60s", on_rotate="none")
        self.started_healthy()
        self.rotate("bad", "--apply", command, names=(self.a,), check=False, timeout=60)
        self.assertEqual(log.read_text(), f"{self.a} first->bad\n{self.a} bad->first\n")
        self.assertEqual(self.read(), "first")

    def test_an_apply_that_fails_changes_nothing(self):
        log = self.mayfly.root / "applied-2"
        command = f'echo "$MAYFLY_SECRET $(cat <&3)->$(cat <&4)" >>{log}; test $MAYFLY_SECRET != {self.b}'
        self.allow()
        self.start()
        result = self.rotate("second", "--apply", command, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("nothing has changed", result.stderr)
        self.assertEqual(log.read_text(), f"{self.a} first->second\n{self.b} first->second\n{self.a} second->first\n")
        self.assertEqual(self.read(), "first")
        self.assertEqual(self.history(self.a), {"current": 1})

    def test_what_was_prepared_and_not_finished_can_be_resumed_or_discarded(self):
        self.allow()
        self.start()
        self.mayfly.call("Prepare", name=self.a, generate=True)
        self.assertEqual(self.history(self.a), {"prepared": 2, "current": 1})
        result = self.rotate("second", names=(self.a,), check=False)
        self.assertIn("--resume", result.stderr)
        self.mayfly.mayfly("rotate", "--discard", self.a)
        self.assertEqual(self.history(self.a), {"current": 1})
        self.mayfly.call("Prepare", name=self.a, generate=True)
        self.mayfly.mayfly("rotate", "--resume", self.a, "--wait")
        self.assertEqual(len(self.read()), 32)


class Dying(RotationCase):
    """kill -9 in the middle: an acknowledged rotation reaches everybody."""

    CONTAINERS = 12
    ROUNDS = int(os.environ.get("MAYFLY_ROTATION_KILLS", "8"))

    def test_an_acknowledged_rotation_survives_the_end_of_any_of_us(self):
        self.allow("web*", on_rotate="none")
        for n in range(self.CONTAINERS):
            self.start(f"web-{n}")
        for number in range(self.ROUNDS):
            victim = ("mayfly-broker", "mayfly-mounter", "mayfly-engine", None)[number % 4]
            value = f"value-{number}"
            with self.subTest(round=number, victim=victim):
                self.rotate(value)
                time.sleep(0.003 * number)
                if victim:
                    self.mayfly.kill(victim)
                else:
                    self.mayfly.kill_all()
                    self.mayfly.start(wait=False)
                self.mayfly.wait_ready()
                for n in range(self.CONTAINERS):
                    wait_for(lambda n=n: [self.read(f"web-{n}", name) for name in "ab"] == [value, value],
                             f"web-{n} has {value}", 30)
                wait_for(lambda: not self.mayfly.status()["rotations"], "the rotation is over", 30)

    def test_a_roll_back_survives_the_brokers_end(self):
        self.allow(rollback_if_unhealthy_within="60s", on_rotate="none")
        health = list(TakingBack.HEALTH)
        health[health.index("300ms")] = "2s"
        self.start("web", *health)
        wait_for(lambda: self.engine.inspect("web", ".State.Health.Status") == "healthy", "web is healthy")
        self.rotate("bad")
        wait_for(lambda: any(r["reached"] == 1 for r in self.mayfly.status()["rotations"]), "it is reached")
        self.mayfly.kill("mayfly-broker")
        wait_for(lambda: self.read() == "first", "it was taken back", 30)
        self.assertEqual(self.history(self.a)["current"], 3)

    def test_the_end_of_a_container_while_we_are_dead_takes_it_back(self):
        self.allow(rollback_if_unhealthy_within="60s", on_rotate="none")
        self.start()
        self.rotate("bad")
        wait_for(lambda: any(r["reached"] == 1 for r in self.mayfly.status()["rotations"]), "it is reached")
        time.sleep(0.2)  # its row is written in the background
        self.mayfly.kill_all()
        self.engine.docker("kill", "web")
        self.mayfly.start(wait=False)
        self.mayfly.wait_ready()
        wait_for(lambda: self.history(self.a)["current"] == 3, "it was taken back", 30)
        self.engine.docker("start", "web")
        self.assertEqual(self.read(), "first")


class ManyReaders(RotationCase):
    CONTAINERS = int(os.environ.get("MAYFLY_ROTATION_CONTAINERS", "20"))
    ROTATIONS = int(os.environ.get("MAYFLY_ROTATIONS", "12"))

    def test_every_pair_that_is_read_is_of_one_generation(self):
        self.allow("web*", on_rotate="none")
        for n in range(self.CONTAINERS):
            self.start(f"web-{n}", command=("sh", "-c", READER))
        for number in range(self.ROTATIONS):
            self.rotate(f"value-{number}", "--wait", timeout=120)
        reads = 0
        for n in range(self.CONTAINERS):
            self.assertEqual(self.engine.docker("logs", f"web-{n}").stdout, "")
            reads += int(self.engine.exec(f"web-{n}", "cat", "/tmp/reads").stdout or 0)
            self.assertEqual(self.read(f"web-{n}"), f"value-{self.ROTATIONS - 1}")
        print(f"# {reads} pairs read, none mixed")
        self.assertGreater(reads, 20 * self.CONTAINERS)
