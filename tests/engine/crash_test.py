"""Any of our processes may be killed at any moment: running containers keep their files, nothing outlives its container,
nothing stale stays, and no open waits for ever or is given what is not its own."""
import os
import signal
import subprocess
import threading
import time
import unittest

from delivery_watch import DeliveryWatch, assert_emptied_in_time, assert_nothing_stale
from harness import IMAGE, Ending, Engine, EngineCase, Mayfly, grant, plugin_name, wait_for
from held_start import READ, HeldStarts, hold

SECRETS = {"web": "of web", "other": "of the other one"}
PARTS = ("mayfly-broker", "mayfly-engine", "mayfly-mounter")
START_DEADLINE_S = 120  # how long an armed delivery waits for its start


class Kept:
    """A container that runs from the first test of this file on, on an engine and a Mayfly that nobody disturbs: the others
    take the time that it needs."""

    @classmethod
    def start(cls):
        cls.engine = Engine()
        unittest.addModuleCleanup(cls.engine.close)
        cls.engine.start()
        cls.engine.import_image()
        cls.mayfly = Mayfly([cls.engine], [plugin_name("kept")])
        unittest.addModuleCleanup(cls.mayfly.close)
        cls.mayfly.start()
        cls.mayfly.put("prod/web", SECRETS["web"])
        cls.mayfly.policy(grant("web", {"container.name": "web"}, "web"))
        cls.engine.docker("volume", "create", "-d", cls.mayfly.plugin_names[0], "secrets")
        cls.engine.container("--name", "web", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "600")
        unittest.addModuleCleanup(cls.engine.remove_containers)
        cls.since = time.monotonic()


def setUpModule():
    Kept.start()


class CrashCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, value in SECRETS.items():
            cls.mayfly.put(f"prod/{name}", value)
        cls.mayfly.policy(*[grant(name, {"container.name": f"{name}*"}, {"name": name, "as": "db-password"})
                            for name in SECRETS])

    def setUp(self):
        super().setUp()
        self.volume()

    def web(self, name, *command, options=()):
        return self.engine.container("--name", name, *options, "-v", "secrets:/run/secrets:ro", IMAGE,
                                     *(command or ("sleep", "300")))

    def released(self, name):
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "granted", f"{name} has its files")

    def watch(self, name):
        self.engine.docker("rm", "-f", name, check=False)
        self.web(name)
        self.released(name)
        return DeliveryWatch(self.engine.inspect(name, ".State.Pid"))

    def read(self, name):
        return self.engine.exec(name, "cat", "/run/secrets/db-password").stdout

    def wait_healthy(self):
        """All our processes are there, and have taken up what was left."""
        wait_for(lambda: all(self.mayfly.child(name) for name in PARTS), "all our processes are there")
        self.mayfly.wait_ready()


class Parts(CrashCase):
    def test_killed_while_containers_run_each_keeps_its_files(self):
        self.web("web-runs")
        self.released("web-runs")
        for name in PARTS:
            with self.subTest(killed=name):
                for _ in range(3):
                    self.mayfly.kill(name)
                    self.assertEqual(self.read("web-runs"), SECRETS["web"])
                    self.wait_healthy()
                    self.assertEqual(self.read("web-runs"), SECRETS["web"])
        wait_for(lambda: self.mayfly.status()["released"] == 1, "it is known again")
        self.assertEqual(self.mayfly.explain("web-runs")["outcome"], "granted")
        self.engine.docker("kill", "web-runs")
        assert_nothing_stale(self, self.mayfly, directories=False)

    def test_killed_before_a_mount_the_container_starts_all_the_same(self):
        for name in PARTS:
            with self.subTest(killed=name):
                self.mayfly.kill(name)
                result = self.engine.docker("run", "--rm", "--network", "none", "--name", "web", "-v",
                                            "secrets:/run/secrets", IMAGE, "cat", "/run/secrets/db-password")
                self.assertEqual(result.stdout, SECRETS["web"])
                self.wait_healthy()

    def start_and_kill(self, part, delay_ms):
        """(output, last line of error) of a container during whose start PART was killed."""
        client = subprocess.Popen(
            ["docker", "-H", f"unix://{self.engine.socket}", "run", "--network", "none", "--name", "web", "-v",
             "secrets:/run/secrets", IMAGE, "sh", "-c", 'echo "$(cat /run/secrets/db-password)"'],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(delay_ms / 1000)
        self.mayfly.kill(part)
        out, err = client.communicate(timeout=90)
        words = [line for line in err.splitlines() if "mayfly" in line or "can't open" in line] or [err]
        return out.strip(), words[0]

    def test_killed_at_any_moment_of_a_start_it_fails_and_says_so_or_reads_its_own(self):
        """From before the Mount to after the first open. Never is a file empty, or another's, or missing: a volume that
        the engine believes to be gone would be one."""
        read = 0
        for part in PARTS:
            for delay_ms in (0, 15, 30, 60, 120, 180):
                with self.subTest(killed=part, after_ms=delay_ms):
                    out, err = self.start_and_kill(part, delay_ms)
                    read += out == SECRETS["web"]
                    if out != SECRETS["web"]:
                        print(f"# {part} killed after {delay_ms} ms: {err[-160:]}")
                        self.assertEqual(out, "")
                        self.assertRegex(err, "mayfly|Operation not permitted")
                self.wait_healthy()
                self.engine.docker("rm", "-f", "web", check=False)
            # What ends seven times within seconds is not started again at once.
            self.mayfly.stop()
            self.mayfly.start()
        self.assertGreater(read, 0)
        assert_nothing_stale(self, self.mayfly, directories=False)
        self.web("web-after")
        self.assertEqual(self.read("web-after"), SECRETS["web"])

    def test_a_container_that_ended_meanwhile_is_emptied_when_we_are_back(self):
        for name in ("mayfly-broker", "mayfly-mounter"):
            with self.subTest(killed=name):
                self.assert_emptied_after_return(name)

    def assert_emptied_after_return(self, part):
        supervisor = self.mayfly.process.pid
        self.addCleanup(os.kill, supervisor, signal.SIGCONT)
        watches, back = [], []

        def end():
            os.kill(supervisor, signal.SIGSTOP)
            self.mayfly.kill(part)
            killer = threading.Thread(target=lambda: self.engine.docker("kill", "web"))
            killer.start()
            watches[-1].wait_for_end()
            time.sleep(0.3)
            self.assertTrue(watches[-1].has_content(), "nobody was there to empty it")
            os.kill(supervisor, signal.SIGCONT)
            wait_for(lambda: self.mayfly.child(part), f"{part} is there again", step=0.001)
            wait_for(self.mayfly.status, "the broker answers", step=0.001)
            back.append(time.monotonic())
            killer.join()

        def start():
            watches.append(self.watch("web"))
            return watches[-1]

        assert_emptied_in_time(self, start, end, lambda: back[-1])
        assert_nothing_stale(self, self.mayfly, directories=False)

    def test_a_supervisor_that_is_killed_takes_the_others_with_it_and_leaves_the_containers_alone(self):
        watch = self.watch("web-runs")
        self.addCleanup(watch.close)
        parts = Ending([self.mayfly.child(name) for name in PARTS])
        os.kill(self.mayfly.process.pid, signal.SIGKILL)
        self.mayfly.process.wait()
        parts.wait("the others have ended")
        self.assertEqual(self.read("web-runs"), SECRETS["web"])
        self.mayfly.start()
        self.assert_adopted(watch)

    def test_all_killed_at_once_and_started_again(self):
        watch = self.watch("web-runs")
        self.addCleanup(watch.close)
        self.mayfly.kill_all()
        self.assertEqual(self.read("web-runs"), SECRETS["web"])
        self.mayfly.start()
        self.assert_adopted(watch)

    def assert_adopted(self, watch):
        wait_for(lambda: self.mayfly.status()["released"] == 1, "the delivery is taken up")
        self.assertEqual(self.read("web-runs"), SECRETS["web"])
        copied = self.engine.docker("cp", "web-runs:/run/secrets/..data/db-password", "-", check=False, timeout=30)
        self.assertNotIn(SECRETS["web"], copied.stdout, "it is guarded again")
        self.assertEqual(self.read("web-runs"), SECRETS["web"])
        self.engine.docker("kill", "web-runs")
        ended = watch.wait_for_end()
        wait_for(lambda: not watch.has_content(), "it is emptied", 5, 0.001)
        self.assertLess(time.monotonic() - ended, 1)
        assert_nothing_stale(self, self.mayfly, directories=False)

    def test_a_container_that_ended_while_all_were_dead(self):
        watch = self.watch("web-runs")
        self.addCleanup(watch.close)
        self.mayfly.kill_all()
        killer = threading.Thread(target=lambda: self.engine.docker("kill", "web-runs"))
        killer.start()
        watch.wait_for_end()
        self.mayfly.start()
        killer.join()
        assert_nothing_stale(self, self.mayfly, directories=False)


class BetweenReadingAndAnswering(CrashCase):
    """The broker has read that somebody opens, and is gone before it answers. What has the event's number next must not
    get that answer."""

    def assert_own_or_denied(self, held, name="web"):
        out, err = held.output(name)
        self.assertIn((out, "Operation not permitted" in err), ((SECRETS[name], False), ("", True)), err)
        return "read" if out else "denied"

    def test_killed(self):
        for part in PARTS:
            with self.subTest(killed=part):
                held = hold(self, "web")
                self.mayfly.kill(part)
                self.assertLess(held.wait_answered(), 10)
                print(f"# {part} killed: {self.assert_own_or_denied(held)}")
                self.wait_healthy()
                self.engine.docker("rm", "-f", "web")

    def test_standing_still(self):
        """The supervisor kills what gives no sign of life for 2 s."""
        for part in ("mayfly-broker", "mayfly-mounter"):
            with self.subTest(stopped=part):
                held = hold(self, "web")
                stopped = Ending([self.mayfly.kill(part, signal.SIGSTOP)])
                self.assertLess(held.wait_answered(), 10)
                stopped.wait("what stood still was ended")
                print(f"# {part} stopped: {self.assert_own_or_denied(held)}")
                self.wait_healthy()
                self.engine.docker("rm", "-f", "web")

    def test_killed_again_and_again_with_two_that_wait_nobody_reads_what_is_the_others(self):
        for _ in range(3):
            held = HeldStarts(self, {name: f"{READ}; {READ}" for name in SECRETS})
            self.mayfly.kill("mayfly-broker")
            held.go_on()
            for name, value in SECRETS.items():
                out, err = held.output(name)
                self.assertIn(out, ("", value, 2 * value), err)
            self.wait_healthy()
            self.engine.docker("rm", "-f", *SECRETS)
            assert_nothing_stale(self, self.mayfly, directories=False)



class TwoMinutesLater(unittest.TestCase):
    """By its name the last one."""

    def test_a_container_still_has_its_files_when_the_wait_for_a_start_would_be_over(self):
        time.sleep(max(0, START_DEADLINE_S + 2 - (time.monotonic() - Kept.since)))
        self.assertEqual(Kept.engine.exec("web", "cat", "/run/secrets/web").stdout, SECRETS["web"])
        self.assertEqual(Kept.mayfly.explain("web")["outcome"], "granted")


if __name__ == "__main__":
    unittest.main()
