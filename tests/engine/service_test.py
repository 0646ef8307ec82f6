"""mayflyd as a service: started before or after its engine, stopped and started under running containers, checked, and
never twice."""
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from delivery_watch import DeliveryWatch, assert_nothing_stale
from harness import IMAGE, Engine, EngineCase, Mayfly, grant, plugin_name, run, wait_for
from held_start import hold

SECRET = "correct horse"


class ServiceCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", SECRET)
        cls.mayfly.policy(grant("web", {"container.name": "web*"}, "db-password"))

    def setUp(self):
        super().setUp()
        self.volume()

    def web(self, name="web"):
        self.engine.container("--name", name, "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "300")
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "granted", f"{name} has its files")
        return DeliveryWatch(self.engine.inspect(name, ".State.Pid"))

    def read(self, name="web"):
        return self.engine.exec(name, "cat", "/run/secrets/db-password").stdout


class StopAndStart(ServiceCase):
    def timed_stop(self):
        begun = time.monotonic()
        self.mayfly.stop()
        seconds = time.monotonic() - begun
        self.assertEqual(self.mayfly.process.returncode, 0, self.mayfly.log_text())
        return seconds

    def test_sigterm_ends_it_within_a_second_and_removes_what_others_would_trip_over(self):
        sockets = [f"/run/docker/plugins/{self.plugin}.sock", self.mayfly.root / "run/mayfly/operator.sock"]
        for path in sockets:
            self.assertTrue(os.path.exists(path))
        self.assertLess(self.timed_stop(), 1)
        for path in sockets:
            self.assertFalse(os.path.exists(path), path)
        self.mayfly.start()

    def test_sigterm_with_eight_running_containers(self):
        for number in range(8):
            self.web(f"web-{number}").close()
        self.assertLess(self.timed_stop(), 1)
        self.assertEqual([self.read(f"web-{number}") for number in range(8)], [SECRET] * 8)
        self.mayfly.start()
        wait_for(lambda: self.mayfly.status()["released"] == 8, "all eight are taken up")
        self.assertEqual([self.read(f"web-{number}") for number in range(8)], [SECRET] * 8)
        self.engine.docker("rm", "-f", *[f"web-{number}" for number in range(8)])
        assert_nothing_stale(self, self.mayfly)

    def test_sigterm_while_an_open_waits_denies_it(self):
        held = hold(self, "web")
        self.assertLess(self.timed_stop(), 1)
        self.assertLess(held.wait_answered(), 5)
        self.mayfly.start()
        out, err = held.output()
        self.assertEqual(out, "")
        self.assertIn("Operation not permitted", err)
        assert_nothing_stale(self, self.mayfly, directories=False)

    def test_sigint_does_the_same(self):
        self.mayfly.stop(signal.SIGINT)
        self.assertEqual(self.mayfly.process.returncode, 0)
        self.mayfly.start()

    def test_a_container_keeps_its_files_over_ten_stops_and_starts(self):
        watch = self.web()
        self.addCleanup(watch.close)
        for _ in range(10):
            self.mayfly.stop()
            self.assertEqual(self.read(), SECRET)
            self.mayfly.start()
            wait_for(lambda: self.mayfly.status()["released"] == 1, "it is taken up")
        self.assertEqual(self.mayfly.explain("web")["outcome"], "granted")
        self.engine.docker("kill", "web")
        wait_for(lambda: not watch.has_content(), "it is emptied")
        assert_nothing_stale(self, self.mayfly)

    def test_a_container_that_ended_while_it_was_stopped_leaves_nothing(self):
        watch = self.web()
        self.addCleanup(watch.close)
        self.mayfly.stop()
        client = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "kill", "web"],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        watch.wait_for_end()
        self.mayfly.start()
        assert_nothing_stale(self, self.mayfly)

    def test_without_it_a_start_fails_and_says_which_plugin_is_missing(self):
        self.mayfly.stop()
        result = self.engine.docker("run", "--rm", "--network", "none", "--name", "web", "-v", "secrets:/s", IMAGE, "true",
                                    check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(self.plugin, result.stderr)
        self.mayfly.start()
        self.assertIn(self.plugin, self.engine.docker("volume", "inspect", "secrets").stdout, "the volume is not forgotten")
        self.web().close()

    def test_a_second_one_on_the_same_directory_is_refused_and_harms_nothing(self):
        watch = self.web()
        self.addCleanup(watch.close)
        second = run(self.mayfly.build / "daemon/mayflyd", "--root", self.mayfly.root, check=False, timeout=20)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("is in use by another mayflyd", second.stderr)
        self.assertTrue(self.mayfly.status())
        self.assertEqual(self.read(), SECRET)
        self.engine.docker("restart", "-t", "0", "web")
        self.assertEqual(self.read(), SECRET)

    def test_another_one_with_the_same_plugin_name_is_refused(self):
        other = Mayfly([self.engine], [self.plugin], self.build)
        self.addCleanup(shutil.rmtree, other.root)
        self.addCleanup(lambda: other.log.close())
        other.start(init=False, wait=False)
        self.assertNotEqual(other.process.wait(20), 0)
        self.assertIn("another process serves it", other.log_text())
        self.assertTrue(os.path.exists(f"/run/docker/plugins/{self.plugin}.sock"))
        self.web().close()


class Check(unittest.TestCase):
    """mayflyd --check reads everything and starts nothing."""

    def setUp(self):
        self.engine = Engine()
        self.addCleanup(self.engine.directory.rmdir)
        self.mayfly = Mayfly([self.engine], [plugin_name("check")])
        self.mayfly.log = open(os.devnull)
        self.addCleanup(self.mayfly.close)

    def check(self):
        result = run(self.mayfly.build / "daemon/mayflyd", "--root", self.mayfly.root, "--check", check=False)
        self.assertFalse(os.path.exists(f"/run/docker/plugins/{self.mayfly.plugin_names[0]}.sock"))
        self.assertFalse(os.path.exists(self.mayfly.root / "run/mayfly/operator.sock"))
        return result

    def test_a_good_configuration(self):
        result = self.check()
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_broken_one_names_file_line_and_the_nearest_word(self):
        path = self.mayfly.root / "etc/mayfly/mayflyd.json"
        path.write_text('{\n  "environment": "prod",\n  "sest": {}\n}\n')
        result = self.check()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"{path}:3", result.stderr)
        self.assertIn("sets", result.stderr)

    def test_a_broken_policy(self):
        path = self.mayfly.root / "etc/mayfly/policy.d/web.json"
        path.write_text(json.dumps({"grants": [grant("web", {"container.nam": "web"}, "x")]}, indent=1))
        result = self.check()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(str(path), result.stderr)
        self.assertIn("container.name", result.stderr)


class Order(unittest.TestCase):
    """Neither needs the other to be there first."""

    def make(self):
        engine = Engine()
        self.addCleanup(engine.close)
        mayfly = Mayfly([engine], [plugin_name("order")])
        self.addCleanup(mayfly.close)
        return engine, mayfly

    def use(self, engine, mayfly):
        mayfly.put("prod/db-password", SECRET)
        mayfly.policy(grant("web", {"container.name": "web"}, "db-password"))
        engine.import_image()
        engine.docker("volume", "create", "-d", mayfly.plugin_names[0], "secrets")
        result = engine.docker("run", "--rm", "--network", "none", "--name", "web", "-v", "secrets:/run/secrets", IMAGE,
                               "cat", "/run/secrets/db-password")
        self.assertEqual(result.stdout, SECRET)

    def test_mayfly_first_waits_for_its_engine_and_says_so(self):
        engine, mayfly = self.make()
        mayfly.start(wait=False, init=False)
        mayfly.wait_ready(engines=False)
        mayfly.mayfly("init", "--environment", "prod", "--recovery-key-to", mayfly.root / "recovery-key")
        status = wait_for(mayfly.status, "it answers")
        self.assertEqual(status["engines"][0]["state"], "waiting")
        self.assertIn(str(engine.socket), status["engines"][0]["detail"])
        self.assertIn("waiting", mayfly.mayfly("status").stdout)
        self.assertIn("waiting for the engine", mayfly.log_text())
        engine.start()
        mayfly.wait_ready()
        self.use(engine, mayfly)

    def test_the_engine_first_finds_the_plugin_when_it_comes(self):
        engine, mayfly = self.make()
        engine.start()
        mayfly.start()
        self.use(engine, mayfly)


if __name__ == "__main__":
    unittest.main()
