"""Every example works as it stands: with Debian's Compose, with a current one, and, where it says so, without Mayfly."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TREE / "tests/engine"))
import harness  # noqa: E402
from host import have_own_plugin_directory  # noqa: E402
from harness import Engine, Mayfly, run, wait_for  # noqa: E402

EXAMPLES = TREE / "examples"
COMPOSE = TREE / ".cache/docker-compose"
VALUES = {"prod": "the prod password", "dev": "the dev password"}


def setUpModule():
    harness.need(os.geteuid() == 0, "it needs root")
    have_own_plugin_directory()


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.need(shutil.which("docker-compose"), "there is no docker-compose")
        cls.engine = Engine()
        cls.addClassCleanup(cls.engine.close)
        cls.engine.start()
        cls.driver = f"mayfly-do{os.getpid()}"
        cls.mayfly = Mayfly([cls.engine], [cls.driver])
        cls.addClassCleanup(cls.mayfly.close)
        cls.mayfly.start()
        for name in VALUES:
            cls.mayfly.put(f"{name}/db-password", VALUES[name])
            cls.mayfly.mayfly("generate", f"{name}/api-key")
        cls.plugins = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-docker-config-"))
        cls.addClassCleanup(shutil.rmtree, cls.plugins)
        (cls.plugins / "cli-plugins").mkdir()
        if COMPOSE.exists():
            (cls.plugins / "cli-plugins/docker-compose").symlink_to(COMPOSE)

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-example-"))
        self.addCleanup(shutil.rmtree, self.place)
        self.addCleanup(self.engine.remove_containers)
        self.directory = self.place / "shop"
        shutil.copytree(EXAMPLES / "compose", self.directory)
        # The tests' driver has a name of its own; nothing else of the files is changed.
        for file in self.directory.glob("*.yaml"):
            file.write_text(file.read_text().replace("driver: mayfly", f"driver: {self.driver}"))
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{self.engine.socket}", "DOCKER_CONFIG": str(self.plugins),
                            "MAYFLY_ROOT": str(self.mayfly.root), "PATH": f"{harness.CLI.parent}:{os.environ['PATH']}"}
        self.here("./make-image")

    def here(self, *command, **environment):
        return run(*command, cwd=self.directory, env={**self.environment, **environment}, stdin=subprocess.DEVNULL)

    def allow(self, file):
        self.here("mayfly", "allow", "--compose", file, "web", "--secret", "db-password", "--secret", "api-key", "--yes")
        self.addCleanup(self.here, "mayfly", "forbid", "shop-web", "--yes")

    def up(self, compose, file, **environment):
        self.here(*compose, "-f", file, "up", "-d", **environment)
        return self.here(*compose, "-f", file, "ps", "-q", "web", **environment).stdout.strip()

    def down(self, compose, file, **environment):
        self.here(*compose, "-f", file, "down", "-v", **environment)

    def value(self, container):
        return self.engine.exec(container, "cat", "/run/secrets/db-password").stdout

    def serves(self, container):
        """The program itself has read its password, and answers."""
        wait_for(lambda: "has a database password of" in self.engine.docker("logs", container).stdout, "the shop is open", 60)
        self.assertIn("The shop is open", self.engine.exec(container, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").stdout)

    def set_environment(self, name):
        self.mayfly.config["environment"] = name
        self.mayfly.write_config()
        self.mayfly.mayfly("policy", "reload")

    def composes(self):
        harness.need(COMPOSE.exists(), "there is no current Docker Compose (scripts/build-compose)")
        return ["docker-compose"], ["docker", "compose"]

    def test_one_compose_file_gets_the_values_of_the_hosts_environment(self):
        self.addCleanup(self.set_environment, "prod")
        self.allow("compose.yaml")
        for compose in self.composes():
            for name in VALUES:
                with self.subTest(compose=compose, environment=name):
                    self.set_environment(name)
                    container = self.up(compose, "compose.yaml")
                    self.serves(container)
                    self.assertEqual(self.value(container), VALUES[name])
                    self.down(compose, "compose.yaml")

    def test_the_portable_file_works_with_mayfly_and_without(self):
        self.allow("compose.portable.yaml")
        for compose in self.composes():
            with self.subTest(compose=compose):
                container = self.up(compose, "compose.portable.yaml")
                self.serves(container)
                self.assertEqual(self.value(container), VALUES["prod"])
                self.down(compose, "compose.portable.yaml")
                container = self.up(compose, "compose.portable.yaml", SECRETS="./secrets.dev")
                self.serves(container)
                self.assertEqual(self.value(container), "dev-password\n")
                self.down(compose, "compose.portable.yaml", SECRETS="./secrets.dev")

    def test_the_file_with_ordinary_secrets_is_converted_and_gets_what_it_asks_for(self):
        compose = self.composes()[1]
        plain = self.up(compose, "compose.secrets.yaml")
        self.serves(plain)
        self.assertEqual(self.value(plain), "dev-password\n")
        self.down(compose, "compose.secrets.yaml")
        self.here("mayfly", "compose", "convert", "compose.secrets.yaml")
        self.allow("compose.secrets.mayfly.yaml")
        container = self.up(compose, "compose.secrets.mayfly.yaml")
        self.serves(container)
        self.assertEqual(self.value(container), VALUES["prod"])
        self.assertEqual(self.engine.exec(container, "stat", "-L", "-c", "%u %a", "/run/secrets/api-key").stdout, "1000 440\n")
        self.down(compose, "compose.secrets.mayfly.yaml")

    def test_the_same_file_runs_through_mayfly_compose(self):
        self.composes()
        self.allow("compose.secrets.yaml")
        compose = ["mayfly", "compose"]
        container = self.up(compose, "compose.secrets.yaml")
        self.serves(container)
        self.assertEqual(self.value(container), VALUES["prod"])
        self.down(compose, "compose.secrets.yaml")

    def test_policy_examples_are_without_mistakes_together(self):
        files = sorted((EXAMPLES / "policy").glob("*.json"))
        self.assertEqual(len(files), 3)
        checked = json.loads(self.mayfly.mayfly("policy", "check", *files, "--json").stdout)
        self.assertEqual(checked["complaints"], [])
        self.assertEqual(checked["grants"], sum(len(json.loads(file.read_text())["grants"]) for file in files))

    def test_every_file_of_the_examples_is_in_a_readme_or_a_policy(self):
        for path in EXAMPLES.rglob("*"):
            if path.is_file() and path.parent.name not in ("policy", "secrets.dev") and path.name != "README.md":
                example = EXAMPLES / path.relative_to(EXAMPLES).parts[0]
                if (example / "README.md").is_file():
                    self.assertIn(f"`{path.name}`", (example / "README.md").read_text(), path)
                else:
                    self.assertIn(f"`{path.relative_to(EXAMPLES)}`", (EXAMPLES / "README.md").read_text())
