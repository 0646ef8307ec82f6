"""However a container ends, its delivery ends with it, and nothing is left; while it runs it keeps its files."""
import os
import select
import time
import unittest

from delivery_watch import DeliveryWatch, assert_emptied_in_time, assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for
from held_start import READ, hold

SECRET = "correct horse battery staple"


class LifecycleCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", SECRET)
        cls.mayfly.policy(grant("web", {"container.name": "web*"}, "db-password"))

    def setUp(self):
        super().setUp()
        self.volume()

    def web(self, name, *command, options=()):
        return self.engine.container("--name", name, *options, "-v", "secrets:/run/secrets:ro", IMAGE, *command)

    def watch(self, name, *command, options=()):
        """A new container NAME that has its files."""
        self.engine.docker("rm", "-f", name, check=False)
        self.web(name, *(command or ("sleep", "300")), options=options)
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "granted", f"{name} has its files")
        return DeliveryWatch(self.engine.inspect(name, ".State.Pid"))

    def read(self, name):
        return self.engine.exec(name, "cat", "/run/secrets/db-password").stdout


class Ends(LifecycleCase):
    def assert_ends_with(self, end, *command, options=()):
        seconds = assert_emptied_in_time(self, lambda: self.watch("web", *command, options=options), end)
        print(f"# emptied {seconds * 1000:.1f} ms after the end")
        assert_nothing_stale(self, self.mayfly)
        self.assertEqual(self.mayfly.explain("web")["outcome"], "ended")
        wait_for(lambda: self.mayfly.audit("--container", "web")[-1]["action"] == "end", "the end is recorded")

    def test_docker_kill(self):
        self.assert_ends_with(lambda: self.engine.docker("kill", "web"))

    def test_docker_stop(self):
        self.assert_ends_with(lambda: self.engine.docker("stop", "-t", "0", "web"))

    def test_docker_rm_force(self):
        self.assert_ends_with(lambda: self.engine.docker("rm", "-f", "web"))

    def test_the_container_ends_by_itself(self):
        self.assert_ends_with(lambda: None, "sleep", "2")

    def test_the_kernel_kills_it_for_lack_of_memory(self):
        grow = "until [ -e /tmp/go ]; do sleep 0.1; done; while :; do a=$a$a.; done"
        self.assert_ends_with(lambda: self.engine.exec("web", "touch", "/tmp/go"), "sh", "-c", grow,
                              options=("-m", "16m"))
        self.assertEqual(self.engine.inspect("web", ".State.OOMKilled"), "true")

    def test_its_first_process_is_killed_from_the_host(self):
        self.assert_ends_with(lambda: os.kill(int(self.engine.inspect("web", ".State.Pid")), 9))

    def test_a_paused_container_that_is_killed(self):
        self.engine.docker("rm", "-f", "web", check=False)

        def unpause_and_kill():
            self.engine.docker("pause", "web")
            self.assertEqual(len(self.mayfly.deliveries()), 1, "a paused container keeps its delivery")
            self.engine.docker("rm", "-f", "web")

        self.assert_ends_with(unpause_and_kill)

    def test_a_start_that_fails_leaves_nothing(self):
        failed = self.engine.docker("run", "--network", "none", "--name", "web", "-v", "secrets:/run/secrets", IMAGE,
                                    "/no/such/program", check=False)
        self.assertNotEqual(failed.returncode, 0)
        assert_nothing_stale(self, self.mayfly)
        wait_for(lambda: self.mayfly.explain("web")["outcome"] == "ended", "explain tells that it is over")

    def test_what_it_has_written_without_a_copy_is_read_whole_after_its_end(self):
        """busybox's cat lends the file's own pages to the pipe (sendfile): a delivery that is overwritten as soon as
        its container has ended takes them back from whoever reads a little later."""
        directory = self.mayfly.root / "pipe"
        directory.mkdir()
        os.mkfifo(directory / "out")
        for _ in range(5):
            pipe = os.open(directory / "out", os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, pipe)
            self.engine.docker("rm", "-f", "web", check=False)
            self.web("web", "sh", "-c", "sleep 1; cat /run/secrets/db-password > /pipe/out",
                     options=("-v", f"{directory}:/pipe"))
            poll = select.poll()
            poll.register(os.pidfd_open(int(self.engine.inspect("web", ".State.Pid"))), select.POLLIN)
            self.assertTrue(poll.poll(30000))
            ended = time.monotonic()
            time.sleep(0.008)
            text, waited = os.read(pipe, 4096).decode(), time.monotonic() - ended
            if waited < 0.02:
                break
        self.assertEqual(text, SECRET)


class Lives(LifecycleCase):
    def test_a_paused_container_reads_on_when_it_goes_on(self):
        self.watch("web").close()
        for _ in range(3):
            self.engine.docker("pause", "web")
            self.engine.docker("unpause", "web")
            self.assertEqual(self.read("web"), SECRET)

    def test_docker_restart_gives_the_files_again(self):
        self.watch("web").close()
        for _ in range(3):
            self.engine.docker("restart", "-t", "0", "web")
            self.assertEqual(self.read("web"), SECRET)

    def test_the_restart_policy_gives_the_files_again_each_time(self):
        script = "cat /run/secrets/db-password; echo; sleep 0.2; exit 1"
        self.web("web", "sh", "-c", script, options=("--restart", "on-failure:4"))
        wait_for(lambda: self.engine.inspect("web", ".RestartCount") == "4"
                 and self.engine.inspect("web", ".State.Running") == "false", "it was restarted four times", 60)
        self.assertEqual(self.engine.docker("logs", "web").stdout, f"{SECRET}\n" * 5)

    def test_after_a_crash_and_after_a_stop_a_start_gives_the_files_again(self):
        self.web("web", "sh", "-c", "cat /run/secrets/db-password; sleep 300")
        for how in ("kill", "stop -t 0", "kill"):
            self.engine.docker(*how.split(), "web")
            self.engine.docker("start", "web")
            self.assertEqual(self.read("web"), SECRET)

    def test_a_process_that_exec_adds_reads_like_the_first_one(self):
        self.watch("web").close()
        for user in ("0", "1000"):
            read = self.engine.exec("-u", user, "web", "cat", "/run/secrets/db-password", check=False)
            self.assertEqual(read.stdout, SECRET if user == "0" else "", "owner and mode decide, as for any file")

    def test_docker_cp_of_a_running_container_takes_nothing_away(self):
        self.watch("web").close()
        for _ in range(2):
            copied = self.engine.docker("cp", "web:/run/secrets", "-", check=False, timeout=30)
            self.assertNotIn(SECRET, copied.stdout)
            self.assertEqual(self.read("web"), SECRET)


class WhileAnOpenWaits(LifecycleCase):
    def test_it_is_served_as_soon_as_the_start_is_known(self):
        held = hold(self, "web")
        held.go_on()
        print(f"# answered after {held.wait_answered():.2f} s")
        self.assertEqual(held.output()[0], SECRET)
        assert_nothing_stale(self, self.mayfly)

    def test_it_is_served_when_what_stands_still_was_replaced(self):
        held = hold(self, "web")
        seconds = held.wait_answered()
        print(f"# answered after {seconds:.2f} s")
        self.assertEqual(held.output()[0], SECRET)
        self.assertLess(seconds, 10)

    def test_the_container_can_be_stopped(self):
        for how in (("stop", "-t", "1"), ("kill",), ("rm", "-f")):
            with self.subTest(how=how):
                held = hold(self, "web", f"{READ}; sleep 300")
                begun = time.monotonic()
                self.engine.docker(*how, "web", timeout=20)
                self.assertLess(time.monotonic() - begun, 8)
                self.assertNotIn(SECRET, held.output()[0])
                held.close()
                self.engine.docker("rm", "-f", "web", check=False)
                assert_nothing_stale(self, self.mayfly)
                self.mayfly.wait_ready()

    def test_docker_cp_takes_nothing_away(self):
        """It mounts and unmounts under the id that the waiting container has."""
        held = hold(self, "web")
        copied = self.engine.docker("cp", "web:/run/secrets", "-", check=False, timeout=20)
        self.assertNotIn(SECRET, copied.stdout)
        held.go_on()
        self.assertEqual(held.output()[0], SECRET)
        assert_nothing_stale(self, self.mayfly)

    def test_when_the_policy_gives_it_other_files_meanwhile_it_never_reads_an_empty_one(self):
        """What the waiting open has found is not there any more: that open fails, the next one reads."""
        self.addCleanup(self.mayfly.policy, grant("web", {"container.name": "web*"}, "db-password"))
        held = hold(self, "web", f"{READ}; echo status $?; {READ}")
        self.mayfly.policy(grant("web", {"container.name": "web*"}, {"name": "db-password", "mode": "0444"}))
        held.go_on()
        out, err = held.output()
        self.assertEqual(out, f"status 1\n{SECRET}")
        self.assertIn("Operation not permitted", err)

    def test_the_container_can_be_paused_and_reads_when_it_goes_on(self):
        held = hold(self, "web")
        self.engine.docker("pause", "web", timeout=20)
        wait_for(lambda: self.mayfly.explain("web")["outcome"] == "granted", "its files are released")
        self.engine.docker("unpause", "web")
        self.assertEqual(held.output()[0], SECRET)


if __name__ == "__main__":
    unittest.main()
