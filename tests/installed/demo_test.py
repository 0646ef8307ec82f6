"""scripts/demo tells its story to the end, leaves nothing however it ends, and ends with 1 when something is not so."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from host import TREE, Host, have_own_plugin_directory

sys.path.insert(0, str(TREE / "tests/engine"))
import harness  # noqa: E402

COMPOSE = TREE / ".cache/docker-compose"
PLUGINS = pathlib.Path("/run/docker/plugins")


def setUpModule():
    harness.need(os.geteuid() == 0, "it needs root")
    have_own_plugin_directory()


class Demo:
    """One run of the demo, with everything that it makes below a directory of its own."""

    def __init__(self, driver, **environment):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-demo-test-"))
        self.directory.chmod(0o755)
        self.driver = driver
        config = self.directory / "docker"
        (config / "cli-plugins").mkdir(parents=True)
        if COMPOSE.exists():
            (config / "cli-plugins/docker-compose").symlink_to(COMPOSE)
        self.environment = {**os.environ, "TMPDIR": str(self.directory), "DOCKER_CONFIG": str(config), "MAYFLY_DEMO_DRIVER": driver,
                            "NO_COLOR": "1", **environment}

    def start(self):
        self.output = open(self.directory / "output", "w+", encoding="utf-8")
        self.process = subprocess.Popen([str(TREE / "scripts/demo")], env=self.environment, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        return self

    def said(self):
        return (self.directory / "output").read_text(encoding="utf-8", errors="replace")

    def wait_until_said(self, text):
        harness.wait_for(lambda: text in self.said() or self.process.poll() is not None, f"the demo says {text}", 300, 0.02)
        if text not in self.said():
            raise AssertionError(self.said())

    def end(self):
        status = self.process.wait(600)
        self.output.close()
        return status

    def left(self):
        """What is there that the demo has made: files, mounts, processes, the socket."""
        left = [str(path) for path in self.directory.iterdir() if path.name not in ("output", "docker")]
        left += [line for line in harness.mounts().splitlines() if str(self.directory) in line]
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(self.directory).encode() in (process / "cmdline").read_bytes():
                    left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return left + [str(socket) for socket in PLUGINS.glob(f"{self.driver}.sock")]

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)


class Story(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.need(shutil.which("dockerd"), "there is no dockerd")

    def demo(self, **environment):
        demo = Demo(f"mayfly-do{os.getpid()}", **environment)
        self.addCleanup(demo.close)
        return demo.start()

    def test_it_is_told_to_the_end_in_less_than_two_minutes_and_leaves_nothing(self):
        harness.need(COMPOSE.exists(), "there is no current Docker Compose (scripts/build-compose)")
        demo = self.demo()
        self.assertEqual(demo.end(), 0, demo.said())
        said = demo.said()
        took = int(re.search(r"Everything was as it should be. It took (\d+) seconds", said).group(1))
        print(f"# the demo: {took} s")
        for line in ("$ docker-compose up -d", "$ mayfly allow --compose compose.yaml web", "$ docker compose --progress quiet -f compose.secrets.mayfly.yaml up -d",
                     "shop: has a database password of 24 characters", "mayfly: no grant matches intruder", "proved: "):
            self.assertIn(line, said)
        self.assertGreaterEqual(said.count("   ok   "), 12)
        self.assertNotIn("   NO   ", said)
        self.assertLess(max(map(len, said.splitlines())), 400, "no line is noise")
        self.assertEqual(demo.left(), [])

    def test_ctrl_c_in_the_middle_leaves_nothing(self):
        demo = self.demo()
        demo.wait_until_said("has a database password")
        # A terminal sends it to everything in the foreground.
        os.killpg(demo.process.pid, signal.SIGINT)
        self.assertEqual(demo.end(), 130, demo.said())
        self.assertEqual(demo.left(), [])

    def test_a_mayfly_that_dies_fails_it_and_leaves_nothing(self):
        demo = self.demo()
        demo.wait_until_said("== Another environment")
        killed = [pid for pid in harness.processes_below(demo.process.pid)
                  if b"/daemon/mayflyd" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        self.assertEqual(len(killed), 1)
        os.kill(killed[0], signal.SIGKILL)
        self.assertEqual(demo.end(), 1, demo.said())
        self.assertIn("   NO   ", demo.said())
        self.assertEqual(demo.left(), [])

    def test_a_container_that_dies_fails_it_and_leaves_nothing(self):
        demo = self.demo()
        demo.wait_until_said("has a database password")
        socket = next(demo.directory.glob("mayfly-demo.*/docker.sock"))
        harness.run("docker", "-H", f"unix://{socket}", "rm", "-f", *harness.run("docker", "-H", f"unix://{socket}", "ps", "-q").stdout.split())
        self.assertEqual(demo.end(), 1, demo.said())
        self.assertIn("   NO   ", demo.said())
        self.assertEqual(demo.left(), [])


class BesideAnEngine(unittest.TestCase):
    """A host where dockerd runs already, with a project of the demo's name, and where Mayfly is installed."""

    def test_the_engine_of_the_host_is_used_and_nothing_of_it_changes(self):
        host = Host()
        self.addCleanup(host.close)
        host.start()
        tree = host.copy_tree()
        build = harness.BUILD
        host.run(f"""
            (dockerd >/var/log/dockerd.log 2>&1 &)
            until docker version >/dev/null 2>&1; do sleep 0.1; done
            cp -r {tree}/examples/compose shop && cd shop && ./make-image shop/web
            sed -i '/driver: mayfly/d; s/secrets:$/secrets: {{}}/' compose.yaml
            docker volume create shop_secrets && docker create --name shop_web_1 --label com.docker.compose.project=shop shop/web
            mkdir -p /run/docker/plugins && touch /run/docker/plugins/mayfly.sock""")
        before = host.run("docker ps -aq; docker volume ls -q; docker image ls -q | sort").stdout
        told = host.run(f"MAYFLY_BUILD={build} NO_COLOR=1 {tree}/scripts/demo", timeout=600).stdout
        self.assertIn("the engine of this host", told)
        self.assertIn("Everything was as it should be.", told)
        self.assertNotRegex(told, r"\bshop_web_1\b", "names that are taken are not used")
        self.assertEqual(host.run("docker ps -aq; docker volume ls -q; docker image ls -q | sort").stdout, before)
        self.assertEqual(host.run("ls /run/docker/plugins /tmp").stdout.split(), ["/run/docker/plugins:", "mayfly.sock", "/tmp:"])


