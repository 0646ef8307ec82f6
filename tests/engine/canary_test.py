"""Plants values that are nowhere else, does with them what people do, and looks everywhere for what is left of them."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

import harness
import hunt

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recovery_bytes(text):
    """The 32 bytes behind a recovery key as people write it: groups of four symbols and a check character."""
    symbols = "".join(group[:4] for group in text.strip().split("-"))
    return (int("".join(f"{ALPHABET.index(c):05b}" for c in symbols)[:256], 2)).to_bytes(32, "big")


def digest(value):
    return hashlib.sha256(value).hexdigest()


class Canary(harness.EngineCase):
    plugin = f"mayfly-hu-canary-{os.getpid()}"
    secrets = f"secrets-{os.getpid()}"  # an engine takes a name once, whichever plugin has it

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.config["allow_reveal"] = True
        cls.mayfly.write_config()
        cls.mayfly.mayfly("policy", "reload")
        cls.values = {}
        cls.addClassCleanup(cls.values.clear)

    def plant(self, name, form="{0}-{0}-{0}-{0}"):
        """A value made of one marker again and again, so that any piece of it that is left is found."""
        self.values[name] = form.format(hunt.marker()).encode()
        return self.values[name]

    def cli(self, *arguments, value=None, check=True):
        """The command with VALUE on standard input, its output not decoded."""
        result = subprocess.run(
            [str(self.mayfly.build / "client/cli/mayfly"), *map(str, arguments)],
            input=value,
            stdin=None if value is not None else subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root)),
            timeout=60,
        )
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def reveal(self, name, as_name=None):
        value = self.cli("reveal", name).stdout
        self.values[as_name or name] = value
        return value

    def start(self, name):
        container = self.engine.container(
            "--name",
            name,
            "-v",
            f"{self.secrets}:/run/secrets",
            harness.IMAGE,
            "sh",
            "-c",
            "for f in /run/secrets/* /run/secrets/keys/*; do cat $f > /dev/null; done; sleep 600",
        )
        harness.wait_for(
            lambda: self.mayfly.deliveries()
            and {d["container"]: d["state"] for d in self.mayfly.deliveries()}.get(name) == "released",
            f"the files of {name} are released",
        )
        return container

    def check_files(self, name, **expected):
        """The application has the right bytes: compared by hash, so that no value is in an argument or an answer."""
        for file, value in expected.items():
            path = f"/run/secrets/{file.replace('__', '/')}"
            said = self.engine.exec(name, "/bin/busybox", "sha256sum", path).stdout.split()[0]
            self.assertEqual(said, digest(value), path)

    # What people do.

    def store_values(self):
        self.cli("put", "prod/db", value=self.plant("db"))
        self.cli("put", "prod/keys/api", value=self.plant("api", '{0}"\\{0}\u00e4\n{0}'))
        self.cli("put", "prod/binary", "--exact", value=b"\0\xff" + self.plant("binary") + b"\0\n")
        with tempfile.NamedTemporaryFile(prefix="mayfly-value-") as file:
            marker = self.plant("large")
            file.write((marker + b"\n") * (700 * 1024 // len(marker)))
            file.flush()
            self.cli("put", "prod/large", "--from-file", file.name)
            self.large = pathlib.Path(file.name).read_bytes()
        self.cli("generate", "prod/made")
        self.reveal("prod/made", "made")
        self.mayfly.policy(
            harness.grant(
                "web",
                {"container.name": "web*"},
                "db",
                "keys/api",
                "binary",
                "large",
                "made",
                {"template": "postgres://u:{{db|url}}@h/d", "as": "url"},
                {"template": "{{keys/api|json}} {{made|base64}}", "as": "both"},
            )
        )

    def store_what_is_refused(self):
        """What the broker or the command sends back must be forgotten as well."""
        refused = {
            ("put", "prod/db"): "other bytes",
            ("put", "nowhere/db"): "unknown set",
            ("verify", "prod/db"): "wrong guess",
            ("verify", "prod/none"): "guess at nothing",
        }
        for arguments, name in refused.items():
            self.assertEqual(self.cli(*arguments, value=self.plant(name), check=False).returncode, 1, arguments)
        self.assertEqual(self.cli("put", "prod/long", value=self.plant("too long") * 22000, check=False).returncode, 1)
        wrong = self.cli("put", "prod/a/../b", value=self.plant("wrong name"), check=False)
        self.assertEqual(wrong.returncode, 2)

    def replace_and_remove(self):
        self.cli("put", "prod/db", "--stage", value=self.plant("staged"))
        self.cli("verify", "prod/db", value=self.values["staged"])
        self.cli("generate", "prod/made", "--stage")
        self.reveal("prod/made", "made again")
        self.cli("put", "prod/old", value=self.plant("removed"))
        self.cli("remove", "prod/old", "--yes")
        self.cli("put", "prod/older", value=self.plant("purged"))
        self.cli("remove", "prod/older", "--purge", "--yes")

    def change_keys(self):
        self.cli("key", "add", "passphrase", value=self.plant("passphrase"))
        self.cli("lock")
        self.assertEqual(self.cli("put", "prod/late", value=self.plant("while locked"), check=False).returncode, 1)
        self.assertEqual(
            self.cli("unlock", "--from-file", "-", value=self.plant("wrong passphrase"), check=False).returncode, 1
        )
        self.cli("unlock", "--from-file", "-", value=self.values["passphrase"])
        self.cli("key", "rotate", "--recovery-key-to", self.mayfly.root / "recovery-2", value=self.values["passphrase"])
        self.cli("lock")
        text = (self.mayfly.root / "recovery-2").read_bytes().strip()
        self.cli("unlock", "--recovery", value=text)
        self.cli("lock")
        self.cli("unlock")  # by the host key
        for name in ("recovery-key", "recovery-2"):
            text = (self.mayfly.root / name).read_text().strip()
            self.values[f"{name} as text"] = text.encode()
            self.values[f"{name} as bytes"] = recovery_bytes(text)
        self.values["host key"] = (self.mayfly.root / "etc/mayfly/host.key").read_bytes()

    # Where it may have been left.

    def images_of(self, container):
        """Image layers made by commit, and an export: what people push to a registry."""
        image = f"hu-{container}:1"
        self.engine.docker("commit", container, image)
        self.addCleanup(self.engine.docker, "rmi", "-f", image, check=False)
        for what in (["save", image], ["export", container]):
            yield what[0], subprocess.run(
                ["docker", "-H", f"unix://{self.engine.socket}", *what], check=True, capture_output=True
            ).stdout

    def hunt_engine(self, values, containers):
        """All that the engine says and has."""
        found = set()
        for container in containers:
            for what, data in self.images_of(container):
                self.assertGreater(len(data), 100000)
                found |= values.in_stream(io.BytesIO(data), f"docker {what} {container}")
            logs = self.engine.docker("logs", container)
            found |= values.in_bytes((logs.stdout + logs.stderr).encode(), f"docker logs {container}")
        self.volume(self.secrets)
        everything = [
            *self.engine.docker("ps", "-aq").stdout.split(),
            self.secrets,
            *self.engine.docker("images", "-q").stdout.split(),
        ]
        found |= values.in_bytes(self.engine.docker("inspect", *everything).stdout.encode(), "docker inspect")
        events = self.engine.docker("events", "--since", "0", "--until", "0s").stdout
        return found | values.in_bytes(events.encode(), "docker events")

    def hunt_files(self, values):
        """The engine's directories and ours, without what the keys themselves are."""
        mine = self.mayfly.root
        keys = [str(mine / name) for name in ("recovery-key", "recovery-2", "etc/mayfly/host.key")]
        found, count = values.below(mine, leave_out=keys)
        namespaces = str(self.engine.exec_root / "netns")  # no files
        of_engine, more = values.below(self.engine.directory, leave_out=[namespaces])
        for directory in ("/dev/shm", "/run/docker/plugins"):
            found |= values.below(directory)[0]
        self.assertGreater(count, 5)
        self.assertGreater(more, 15)
        return found | of_engine

    def hunt_memory(self, values):
        found = set()
        for pid in harness.processes_below(self.mayfly.process.pid):
            hits, read = values.in_memory(pid)
            self.assertGreater(read, 50000, pid)
            found |= hits
        return found

    def hunt_everywhere(self, values, containers):
        return (
            self.hunt_engine(values, containers)
            | self.hunt_files(values)
            | values.in_commands()
            | self.hunt_memory(values)
        )

    def test_nothing_is_left_of_a_value_outside_its_container(self):
        self.volume(self.secrets)
        self.store_values()
        self.store_what_is_refused()
        self.start("web1")
        self.check_files(
            "web1",
            db=self.values["db"],
            keys__api=self.values["api"],
            large=self.large,
            url=b"postgres://u:" + self.values["db"] + b"@h/d",
            binary=b"\0\xff" + self.values["binary"] + b"\0\n",
            made=self.values["made"],
        )
        self.replace_and_remove()
        self.engine.docker("restart", "-t", "0", "web1")
        harness.wait_for(lambda: self.mayfly.status()["released"] == 1, "the new files are released")
        self.check_files("web1", db=self.values["staged"], made=self.values["made again"])
        self.start("web2")
        self.change_keys()
        self.mayfly.mayfly("audit", "verify")
        self.mayfly.mayfly("doctor")
        values = hunt.Hunt(self.values)
        with self.subTest("while containers run"):
            self.assertEqual(self.hunt_everywhere(values, ["web1", "web2"]), set())
        self.mayfly.kill("mayfly-broker")
        harness.wait_for(lambda: self.mayfly.status() and self.mayfly.status()["released"] == 2, "both are adopted")
        with self.subTest("after the broker was killed and has adopted what there is"):
            self.check_files("web1", db=self.values["staged"])
            self.assertEqual(self.hunt_memory(values) | self.hunt_files(values), set())
        self.engine.docker("stop", "-t", "0", "web1", "web2")
        harness.wait_for(lambda: self.mayfly.status()["released"] == 0, "all deliveries have ended")
        with self.subTest("after the containers have stopped"):
            self.assertEqual(self.hunt_everywhere(values, ["web1", "web2"]), set())
        self.mayfly.stop()
        with self.subTest("after Mayfly has stopped"):
            self.assertEqual(self.hunt_files(values) | values.in_commands(), set())
        self.mayfly.start(init=False)  # the clean-up would wait for it


class TheHuntItself(harness.EngineCase):
    """Controls: planted values are found in each kind of place, and in each spelling."""

    plugin = f"mayfly-hu-control-{os.getpid()}"
    secrets = f"planted-{os.getpid()}"

    def setUp(self):
        super().setUp()
        self.marker = hunt.marker()
        self.values = hunt.Hunt({"planted": self.marker.encode()})
        self.hunter = Canary()
        for name in ("engine", "mayfly", "plugin", "secrets"):
            setattr(self.hunter, name, getattr(self, name))
        self.addCleanup(self.hunter.doCleanups)

    def assert_found(self, found, where):
        self.assertTrue(any(where in what for what in found), f"{where} is not in {sorted(found)}")

    def test_every_spelling_is_found_wherever_it_begins(self):
        import base64

        value = self.marker.encode()
        for shift in range(3):
            for spelt in (
                value,
                value.hex().encode(),
                value.hex().upper().encode(),
                base64.b64encode(b"x" * shift + value + b"yz"),
                base64.urlsafe_b64encode(b"x" * shift + value + b"y"),
                json.dumps({"a": f'"\u00e4{self.marker}\n'}).encode(),
            ):
                self.assertTrue(self.values.in_bytes(b"?" + spelt + b"?", "here"), spelt)
        self.assertFalse(self.values.in_bytes(value[:-1] + b"?", "here"))

    def test_a_value_is_found_across_two_blocks_of_a_stream(self):
        data = b"a" * (hunt.CHUNK - 5) + self.marker.encode() + b"b" * 10
        self.assertTrue(self.values.in_stream(io.BytesIO(data), "here"))

    def test_a_value_is_found_in_files_of_every_kind(self):
        places = {
            "our directory": self.mayfly.root / "var/lib/mayfly/planted",
            "the engine's": self.engine.data_root / "planted",
        }
        for what, place in places.items():
            with self.subTest(what):
                place.write_text(f"text {self.marker} text")
                self.addCleanup(place.unlink)
                self.assert_found(self.hunter.hunt_files(self.values), str(place))

    def test_a_value_is_found_in_a_database_also_after_it_was_deleted(self):
        place = self.mayfly.root / "var/lib/mayfly/planted.db"
        self.addCleanup(place.unlink)
        with contextlib.closing(sqlite3.connect(place)) as database:
            database.execute("pragma secure_delete = off")
            database.execute("create table t (v)")
            database.execute("insert into t values (?)", (self.marker,))
            database.commit()
            database.execute("delete from t")
            database.commit()
        self.assert_found(self.hunter.hunt_files(self.values), str(place))

    def test_a_value_is_found_in_what_a_container_writes(self):
        """In a layer, the log, the inspection: what a careless application does with its secret."""
        with tempfile.TemporaryDirectory(prefix="mayfly-planted-") as directory:
            pathlib.Path(directory, "file").write_text(self.marker)
            script = "cat /in/file; echo; cp /in/file /copy; sleep 600"
            self.engine.container(
                "--name",
                "careless",
                "-v",
                f"{directory}:/in:ro",
                "-e",
                f"SECRET={self.marker}",
                harness.IMAGE,
                "sh",
                "-c",
                script,
            )
            harness.wait_for(lambda: self.engine.docker("logs", "careless").stdout, "the container has written")
            found = self.hunter.hunt_engine(self.values, ["careless"]) | self.hunter.hunt_files(self.values)
        for where in (
            "docker save",
            "docker export",
            "docker logs",
            "docker inspect",
            "config.v2.json",
            "-json.log",
            "/diff/copy",
        ):
            self.assert_found(found, where)

    def test_a_value_is_found_in_arguments_and_in_the_environment(self):
        for what in ("cmdline", "environ"):
            argument = self.marker if what == "cmdline" else "-"
            environment = {"PATH": os.environ["PATH"], **({"X": self.marker} if what == "environ" else {})}
            process = subprocess.Popen(
                [sys.executable, "-c", "input()", argument], env=environment, stdin=subprocess.PIPE
            )
            try:
                harness.wait_for(lambda: self.values.in_commands(), f"the value in {what}")
                self.assert_found(self.values.in_commands(), f"{process.pid}/{what}")
            finally:
                process.communicate(b"\n")

    def test_what_the_broker_knows_is_found_in_its_memory_its_files_and_its_log(self):
        """A container's name is no secret, and goes everywhere where a secret must not."""
        self.volume(self.secrets)
        self.mayfly.policy()
        self.engine.docker(
            "run",
            "--name",
            f"n{self.marker}",
            "--network",
            "none",
            "-v",
            f"{self.secrets}:/run/secrets",
            harness.IMAGE,
            "true",
            check=False,
        )
        self.mayfly.explain(f"n{self.marker}")
        found = self.hunter.hunt_memory(self.values) | self.hunter.hunt_files(self.values)
        for where in ("memory of mayfly-broker", "memory of mayfly-engine", "state.db", "audit.jsonl"):
            self.assert_found(found, where)

    def test_a_secret_that_is_held_in_memory_is_found_there(self):
        script = "import sys; v = bytearray(sys.stdin.buffer.readline()); print('ready', flush=True); sys.stdin.read()"
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            process.stdin.write(f"{self.marker}\n".encode())
            process.stdin.flush()
            process.stdout.readline()
            self.assertTrue(self.values.in_memory(process.pid)[0])
        finally:
            process.communicate()
