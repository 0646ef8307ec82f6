"""What people run in a container against a real Mayfly: the bound program, libmayfly, programs in other languages."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import BUILD, IMAGE, EngineCase, Mayfly, grant, wait_for

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EXEC = BUILD / "client/exec/exec"
CC = os.environ.get("MAYFLY_CC", "cc").split()


def readable(name, **more):
    return {"name": name, "mode": "0444", **more}


class ClientCase(EngineCase):
    plugin = harness.plugin_name("client")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-programs-"))
        cls.addClassCleanup(shutil.rmtree, cls.programs)
        cls.programs.chmod(0o755)
        shutil.copy(EXEC, cls.programs / "mayfly")
        cls.directory = cls.mayfly.root / "run/mayfly/container"
        for name, value in (("db-password", "hunter2-hunter2"), ("api-key", "k-e-y"), ("third", "drei")):
            cls.mayfly.put(f"prod/{name}", value)

    def setUp(self):
        super().setUp()
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("db-password"), readable("api-key")))

    def start(self, *options, image=IMAGE, command=("sleep", "600")):
        return self.engine.container(
            "--name",
            "web",
            "-v",
            f"{self.directory}:/run/mayfly:ro",
            "-v",
            f"{self.programs}:/programs:ro",
            *options,
            image,
            *command,
        )

    def mayfly_inside(self, *arguments, check=True, options=()):
        return self.engine.docker("exec", *options, "web", "/programs/mayfly", *arguments, check=check, timeout=60)

    def ask_for_more(self):
        """A third secret, which makes a further generation of what is delivered."""
        self.mayfly.policy(grant("web", {"container.name": "web"}, *map(readable, ("db-password", "api-key", "third"))))
        self.mayfly_inside("request", "--wait", "20s")

    def logs(self):
        result = self.engine.docker("logs", "web")
        return result.stdout + result.stderr

    def wait_for_log(self, text):
        wait_for(lambda: text in self.logs(), f"{text!r} in the log; it has: {self.logs()}", 30)


class Program(ClientCase):
    def test_request_delivers_and_tells(self):
        self.start()
        result = self.mayfly_inside("request")
        self.assertIn("delivered: /run/secrets (generation 1, lease ", result.stdout)
        self.assertIn("  /run/secrets/db-password: prod/db-password version 1\n", result.stdout)
        again = json.loads(self.mayfly_inside("request", "--json").stdout)
        self.assertFalse(again["is_new"])
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/api-key").stdout, "k-e-y")

    def test_an_entry_point_asks_for_itself_and_becomes_the_program(self):
        self.start(
            "--entrypoint", "/programs/mayfly", "--cap-drop", "ALL", "-u", "1000", command=("request", "--wait", "30s")
        )
        self.wait_for_log("delivered: /run/secrets")

    def test_exec_puts_values_into_one_program(self):
        self.start()
        self.mayfly_inside("request")
        result = self.mayfly_inside(
            "exec", "--env", "PW=db-password", "--env", "KEY=api-key", "--", "sh", "-c", "echo $PW $KEY"
        )
        self.assertEqual(result.stdout, "hunter2-hunter2 k-e-y\n")

    def test_a_refusal_says_why(self):
        self.mayfly.policy(grant("other", {"container.name": "other"}, readable("db-password")))
        self.start()
        result = self.mayfly_inside("request", check=False)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("mayfly: request: Request: ", result.stderr)

    def test_a_host_process_is_not_attested(self):
        result = subprocess.run(
            [str(EXEC), "request"],
            env={"MAYFLY_SOCKET": str(self.directory / "container.sock")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("mayfly: request: Request: ", result.stderr)

    def test_request_waits_for_a_secret(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("late")))
        self.start(command=("/programs/mayfly", "request", "--wait", "60s"))
        wait_for(lambda: self.engine.inspect("web", ".State.Running") == "true", "it waits")
        self.mayfly.put("prod/late", "came")
        self.wait_for_log("delivered: /run/secrets")

    def test_watch_lives_through_a_restart_of_mayfly(self):
        self.start(command=("sh", "-c", "/programs/mayfly request && exec /programs/mayfly watch"))
        self.wait_for_log("present /run/secrets (generation 1")
        self.mayfly.kill("mayfly-broker")
        self.mayfly.wait_ready()
        self.ask_for_more()
        self.wait_for_log("rotated /run/secrets (generation 2")
        # What has not changed is not told again.
        self.assertEqual(self.logs().count("present "), 1, self.logs())


class Library(ClientCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-install-"))
        cls.addClassCleanup(shutil.rmtree, root)
        harness.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root)
        (archive,) = root.rglob("libmayfly.a")
        (include,) = root.rglob("include/mayfly")
        harness.run(
            *CC,
            "-static",
            "-I",
            include.parent,
            SOURCE / "examples/c/secret_reader.c",
            archive,
            "-o",
            cls.programs / "c_reader",
        )
        if shutil.which("go"):
            cache = SOURCE / ".cache/go/build"
            environment = {
                **os.environ,
                "CGO_ENABLED": "0",
                "GOPROXY": "off",
                "GOTOOLCHAIN": "local",
                "GOCACHE": str(cache if cache.is_dir() else root / "cache"),
            }
            harness.run(
                "go", "build", "-o", cls.programs / "go_reader", ".", cwd=SOURCE / "examples/go", env=environment
            )

    def reads(self, program):
        # Not as process 1: the container would end with it, and with the request that it waits for.
        self.start(command=("sh", "-c", f"/programs/{program}; echo ended $?; sleep 600"))
        self.wait_for_log(
            "delivered: /run/secrets, generation 1\n"
            "  /run/secrets/db-password: prod/db-password version 1, 15 bytes\n"
            "  /run/secrets/api-key: prod/api-key version 1, 5 bytes\n"
        )
        self.ask_for_more()
        self.wait_for_log("rotated: /run/secrets, generation 2\n")
        self.wait_for_log("  /run/secrets/third: prod/third version 1, 4 bytes\n")
        self.wait_for_log("ended 0\n")

    def test_the_c_example(self):
        self.reads("c_reader")

    @unittest.skipUnless(shutil.which("go"), "there is no Go")
    def test_the_go_example(self):
        self.reads("go_reader")
