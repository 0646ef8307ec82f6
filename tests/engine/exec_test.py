"""The program in the container as an entry point, in front of real programs, with real volumes."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import harness
from harness import BUILD, IMAGE, grant, need, wait_for

EXEC = BUILD / "client/exec/exec"
COMPOSE = pathlib.Path(__file__).resolve().parents[2] / ".cache/docker-compose"
SCRATCH = "mayfly-scratch:1"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Exec(harness.EngineCase):
    plugin = f"mayfly-li-exec-{os.getpid()}"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-exec-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        for name, value in (("db-password", "hunter2"), ("api-key", "k-e-y"), ("nowhere", "/nowhere/at-all.sock")):
            cls.mayfly.put(f"prod/{name}", value)

    def setUp(self):
        super().setUp()
        self.volume = super().volume(f"secrets-{self.plugin}")
        self.addCleanup(self.remove)
        self.mayfly.policy(grant("web", {"container.name": "web"}, "db-password", "api-key", "nowhere"))

    def remove(self):
        self.engine.remove_containers()
        self.engine.docker("volume", "rm", "-f", self.volume)

    def run_with(self, options, image, *command):
        """`docker run` with the program as the entry point; what it printed and its exit status."""
        binds = ("-v", f"{EXEC}:/mayfly:ro", "-v", f"{self.volume}:/run/secrets:ro")
        words = ("run", "--rm", "--name", "web", "--network", "none", *HARDENED, *binds, "--entrypoint", "/mayfly")
        return self.engine.docker(*words, *options, image, *command, check=False)

    def test_a_program_that_only_knows_the_environment(self):
        wishes = ("--env", "PW=db-password", "--env", "KEY=api-key")
        for user in ("0", "1000", "app:web"):
            result = self.run_with(("-u", user), IMAGE, "exec", *wishes, "--", "sh", "-c", 'echo "$$ $PW $KEY"; exit 5')
            self.assertEqual((result.stdout, result.returncode), ("1 hunter2 k-e-y\n", 5), result.stderr)
        result = self.run_with((), IMAGE, "exec", "--env", "PW=db-pasword", "--", "env")
        self.assertEqual((result.stdout, result.returncode), ("", 1))
        self.assertIn("is the name right?", result.stderr)

    def test_an_image_that_has_nothing_else(self):
        """The program becomes itself, and says which socket it was given in its environment."""
        with tempfile.TemporaryDirectory(prefix="mayfly-scratch-") as root:
            os.mkdir(f"{root}/run")
            tar = subprocess.run(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        words = ["docker", "-H", f"unix://{self.engine.socket}", "import", "-", SCRATCH]
        subprocess.run(words, input=tar, check=True, stdout=subprocess.DEVNULL)
        command = ("exec", "--env", "MAYFLY_SOCKET=nowhere", "--", "/mayfly", "request")
        result = self.run_with(("-u", "1000"), SCRATCH, *command)
        self.assertEqual(result.returncode, 3, result)
        self.assertIn("connect to '/nowhere/at-all.sock'", result.stderr)

    def compose(self, *words, project, check=True):
        config = self.directory / "docker"
        (config / "cli-plugins").mkdir(parents=True, exist_ok=True)
        if not (config / "cli-plugins/docker-compose").exists():
            (config / "cli-plugins/docker-compose").symlink_to(COMPOSE)
        environment = {
            **os.environ,
            "DOCKER_CONFIG": str(config),
            "DOCKER_HOST": f"unix://{self.engine.socket}",
            "MAYFLY_ROOT": str(self.mayfly.root),
        }
        return harness.run(*words, cwd=project, env=environment, check=check)

    def test_a_converted_compose_file(self):
        """The image's own entry point and command run behind the program."""
        need(COMPOSE.exists(), "scripts/build-compose has not been run")
        image = f"mayfly-li-entry-{os.getpid()}:1"
        change = 'ENTRYPOINT ["/bin/sh", "-c", "echo $0 $1 [$PW]; sleep 600"]'
        container = self.engine.docker("create", IMAGE, "true").stdout.strip()
        words = ("commit", "--change", change, "--change", 'CMD ["first", "second"]')
        self.engine.docker(*words, container, image)
        project = self.directory / "shop"
        project.mkdir()
        (project / "db.txt").write_text("unused")
        service = {"image": image, "network_mode": "none", "secrets": ["db-password"]}
        model = {"services": {"db": service}, "secrets": {"db-password": {"file": "./db.txt"}}}
        (project / "compose.yaml").write_text(json.dumps(model))
        match = {"compose.project": "shop", "compose.service": "db"}
        self.mayfly.policy(grant("db", match, "db-password"))
        self.compose(BUILD / "client/cli/mayfly", "compose", "convert", "--env", "db:PW=db-password", project=project)
        copy = project / "compose.mayfly.yaml"
        text, found = re.subn(r"source: .*/lib/mayfly/exec\n", f"source: {EXEC}\n", copy.read_text())
        self.assertEqual(found, 1, text)
        copy.write_text(text)
        docker_compose = ("docker", "compose", "-f", copy.name)
        self.compose(*docker_compose, "up", "-d", project=project)
        self.addCleanup(self.compose, *docker_compose, "down", "-v", "-t", "1", project=project)
        wait_for(lambda: "[hunter2]" in self.compose(*docker_compose, "logs", project=project).stdout, "it has started")
        self.assertIn("first second [hunter2]", self.compose(*docker_compose, "logs", project=project).stdout)
        inspected = self.engine.docker("inspect", "shop-db-1").stdout
        self.assertNotIn("hunter2", inspected)
