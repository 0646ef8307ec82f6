"""The engine is stopped, killed and started again, alone and together with us: whoever lives keeps its files, whoever is
started again gets them again, without anybody's help."""
import pathlib
import signal
import subprocess
import time
import unittest

from delivery_watch import DeliveryWatch, assert_emptied_in_time, assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for

SECRET = "correct horse"


class EngineRestartCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", SECRET)
        for number in range(4):
            cls.mayfly.put(f"prod/of-{number}", f"value of {number}")
        cls.mayfly.policy(grant("web", {"container.name": "web*"}, "db-password"),
                          *[grant(f"of-{n}", {"container.name": f"always-{n}"}, {"name": f"of-{n}", "as": "mine"})
                            for n in range(4)])

    def setUp(self):
        super().setUp()
        self.addCleanup(self.ensure_running)
        self.volume()

    def ensure_running(self):
        if self.mayfly.process.poll() is not None:
            self.mayfly.start()
        if self.engine.process.poll() is not None:
            self.engine.start()
        self.mayfly.wait_ready()

    def web(self, *options, name="web"):
        self.engine.container("--name", name, *options, "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "600")
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "granted", f"{name} has its files")
        return int(self.engine.inspect(name, ".State.Pid"))

    def read(self, pid):
        """From the host, through the container's own mount: the engine may be away."""
        return pathlib.Path(f"/proc/{pid}/root/run/secrets/db-password").read_text()

    def always(self):
        for number in range(4):
            self.engine.container("--name", f"always-{number}", "--restart", "always", "-u", "1000", "-v",
                                  "secrets:/run/secrets:ro", IMAGE, "sh", "-c",
                                  "trap exit TERM; cat /run/secrets/mine; echo; sleep 600 & wait")
        self.assert_back(1)

    def assert_back(self, times):
        """Each of them has read its own secret in each of its TIMES starts, from its first instruction on."""
        for number in range(4):
            name = f"always-{number}"
            wait_for(lambda: self.engine.docker("logs", name).stdout.count("\n") == times, f"{name} is back", 30, 0.2)
            self.assertEqual(self.engine.docker("logs", name).stdout, f"value of {number}\n" * times)
            self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/mine").stdout, f"value of {number}")

    def kill_from_host(self, pid):
        subprocess.run(["kill", "-9", str(pid)], check=True)


class WithoutLiveRestore(EngineRestartCase):
    def test_stopped_and_started_every_container_is_back_with_its_files(self):
        self.always()
        self.engine.stop()
        assert_nothing_stale(self, self.mayfly, directories=False)
        self.engine.start()
        self.assert_back(2)

    def test_an_unattended_restart_of_everything_brings_every_container_back(self):
        self.always()
        self.engine.stop()
        self.mayfly.stop()
        self.mayfly.start(wait=False)
        self.mayfly.wait_ready(engines=False)
        self.engine.start()
        self.mayfly.wait_ready()
        self.assert_back(2)
        self.engine.stop()
        self.mayfly.stop()
        self.engine.start(wait=False)  # it looks for its plugin for some seconds
        time.sleep(1)
        self.mayfly.start(wait=False)
        self.engine.wait_ready()
        self.mayfly.wait_ready()
        self.assert_back(3)

    def test_killed_the_containers_live_on_until_it_is_back(self):
        pid = self.web()
        self.engine.stop(signal.SIGKILL)
        time.sleep(0.5)
        self.assertEqual(self.read(pid), SECRET)
        watch = DeliveryWatch(pid)
        self.addCleanup(watch.close)
        self.engine.start()  # and stops what it finds, as it may not keep it
        wait_for(lambda: not watch.has_content(), "its delivery is emptied", 30)
        assert_nothing_stale(self, self.mayfly, directories=False)
        self.engine.docker("start", "web")
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)

    def test_killed_in_the_middle_of_a_start_it_leaves_nothing_behind(self):
        for delay_ms in (20, 60, 150):
            with self.subTest(after_ms=delay_ms):
                client = subprocess.Popen(
                    ["docker", "-H", f"unix://{self.engine.socket}", "run", "--network", "none", "--name", "web", "-v",
                     "secrets:/run/secrets", IMAGE, "sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay_ms / 1000)
                self.engine.stop(signal.SIGKILL)
                client.wait(30)
                self.engine.start()
                self.mayfly.wait_ready()
                self.engine.docker("rm", "-f", "web", check=False)
                assert_nothing_stale(self, self.mayfly, directories=False)
        self.web()
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)


class WithLiveRestore(EngineRestartCase):
    engine_arguments = ("--live-restore",)

    def test_stopped_and_killed_and_started_again_a_container_keeps_its_files(self):
        pid = self.web()
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.engine.stop(how)
            self.assertEqual(self.read(pid), SECRET)
            self.assertEqual(self.mayfly.status()["released"], 1)
            self.engine.start()
            self.mayfly.wait_ready()
            self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)
            self.assertEqual(int(self.engine.inspect("web", ".State.Pid")), pid)
        self.engine.docker("kill", "web")
        assert_nothing_stale(self, self.mayfly, directories=False)
        self.engine.docker("start", "web")
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)

    def test_a_container_that_ends_while_the_engine_is_away_is_emptied_in_time(self):
        def start():
            if self.engine.process.poll() is not None:
                self.engine.start()
                self.mayfly.wait_ready()
            self.engine.docker("rm", "-f", "web", check=False)
            pid = self.web()
            watch = DeliveryWatch(pid)
            self.engine.stop()
            self.pid = pid
            return watch

        seconds = assert_emptied_in_time(self, start, lambda: self.kill_from_host(self.pid))
        print(f"# emptied {seconds * 1000:.0f} ms after the end")
        self.engine.start()
        self.mayfly.wait_ready()
        self.engine.docker("start", "web")
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)

    def test_both_restarted_under_a_running_container(self):
        pid = self.web()
        self.engine.stop()
        self.mayfly.kill_all()
        self.mayfly.start(wait=False)
        self.mayfly.wait_ready(engines=False)
        self.assertEqual(self.read(pid), SECRET)
        self.engine.start()
        self.mayfly.wait_ready()
        wait_for(lambda: self.mayfly.status()["released"] == 1, "it is taken up")
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)
        self.engine.docker("restart", "-t", "0", "web")
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)


if __name__ == "__main__":
    unittest.main()
