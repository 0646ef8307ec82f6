"""A Compose project in a directory of its own, driven by Debian's docker-compose, by a current Compose, or through `mayfly
compose`."""
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from harness import BUILD, IMAGE, need, run

CURRENT = pathlib.Path(os.environ.get("MAYFLY_COMPOSE", BUILD.parent / ".cache/docker-compose"))


def service(command="sleep 300", **more):
    return {"image": IMAGE, "network_mode": "none", "command": ["sh", "-c", command], "stop_grace_period": "0s", **more}


class ComposeProject:
    def __init__(self, case, name="shop", **model):
        need(shutil.which("docker-compose"), "there is no docker-compose")
        need(CURRENT.exists(), f"there is no {CURRENT} (scripts/build-compose makes it)")
        self.case, self.name = case, name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-compose-"))
        case.addCleanup(shutil.rmtree, self.directory)
        (self.directory / name).mkdir()
        self.file = self.directory / name / "compose.yaml"
        # JSON is YAML.
        self.file.write_text(json.dumps({"version": "3.7", **model}, indent=2))
        plugins = self.directory / "docker/cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(CURRENT)
        (self.directory / "empty").mkdir()
        case.addCleanup(self.down)

    def environment(self, config):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "COMPOSE_"))}
        return dict(environment, DOCKER_HOST=f"unix://{self.case.engine.socket}", DOCKER_CONFIG=str(self.directory / config),
                    MAYFLY_ROOT=str(self.case.mayfly.root), NO_COLOR="1", TERM="dumb", COMPOSE_ANSI="never")

    def call(self, config, *command, env=None, **options):
        return run(*command, env={**self.environment(config), **(env or {})}, cwd=self.file.parent, **options)

    def old(self, *arguments, **options):
        """Debian's, of the 1.29 line."""
        return self.call("empty", "docker-compose", *arguments, **options)

    def current(self, *arguments, **options):
        return self.call("docker", "docker", "compose", *arguments, **options)

    def mayfly(self, *arguments, config="docker", **options):
        return self.call(config, self.case.mayfly.build / "client/cli/mayfly", *arguments, **options)

    def digest(self):
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def files(self):
        return sorted(path.name for path in self.file.parent.iterdir())

    def down(self):
        """Also what a converted copy, or another way, has made."""
        self.current("down", "-v", "-t", "0", "--remove-orphans", check=False)
        volumes = self.case.engine.docker("volume", "ls", "-q", "--filter", f"name=^{self.name}_").stdout.split()
        if volumes:
            self.case.engine.docker("volume", "rm", "-f", *volumes, check=False)
