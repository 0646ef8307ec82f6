"""Each example, as a user builds it, against a container socket of the tests' own: request, read, follow one rotation.

MAYFLY_BUILD names the build directory, MAYFLY_CC the compiler.
"""

import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

from container_stand_in import SOURCE, ContainerStandIn, Error, Files

BUILD = os.environ["MAYFLY_BUILD"]
CC = shlex.split(os.environ["MAYFLY_CC"])
WAIT_S = 60


def run(*words, **more):
    result = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, **more)
    assert result.returncode == 0, (words, result.stdout, result.stderr)
    return result.stdout


class Example:
    """`command`: what runs it. The cases are the same for every language."""

    command = None

    def setUp(self):
        self.broker = ContainerStandIn()
        self.addCleanup(self.end)
        self.broker.start()
        self.files = Files(self.broker.root / "secrets")
        self.delivery = self.files.fill(user=b"shop", keys__password=b"first canary")
        self.broker.present = [self.delivery]
        self.broker.replies["Request"] = {"delivery": self.delivery, "is_new": True}

    def end(self):
        problems = self.broker.problems
        self.broker.close()
        self.assertEqual(problems, [])

    @contextlib.contextmanager
    def running(self):
        environment = {**os.environ, "MAYFLY_SOCKET": str(self.broker.path)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(self.command, env=environment, text=True, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def expect(self, process, what, generation, length):
        target = self.files.target
        lines = [process.stdout.readline().rstrip("\n") for _ in range(3)]
        self.assertEqual(
            lines,
            [
                f"{what}: {target}, generation {generation}",
                f"  {target}/user: prod/user version {generation}, 4 bytes",
                f"  {target}/keys/password: prod/keys/password version {generation}, {length} bytes",
            ],
            process.stderr.read() if not lines[0] else "",
        )

    def expect_end(self, process, status=0):
        rest, said = process.communicate(timeout=WAIT_S)
        self.assertEqual((process.returncode, rest), (status, ""), said)
        self.assertNotIn("canary", said)
        return said

    def rotate(self):
        return self.files.fill(user=b"shop", keys__password=b"the second canary")

    def follow_a_rotation(self, process):
        self.expect(process, "delivered", 1, 12)
        self.broker.wait_for(lambda: self.broker.watchers, "a watch")
        self.broker.tell("rotated", self.rotate())
        self.expect(process, "rotated", 2, 17)
        self.expect_end(process)

    def test_it_reads_and_follows_a_rotation(self):
        with self.running() as process:
            self.follow_a_rotation(process)
        self.assertGreater(self.broker.calls[0].parameters["wait_ms"], 10000)

    def test_it_echoes_where_the_kernel_needs_it(self):
        self.broker.echo_first = True
        with self.running() as process:
            self.follow_a_rotation(process)

    def test_it_waits_where_it_asks_too_often(self):
        too_much = Error("TooMuch", {"limit": "x", "retry_after_ms": 50})
        self.broker.replies["Request"] = [too_much, self.broker.replies["Request"]]
        self.broker.replies["Watch"] = [too_much, None]
        with self.running() as process:
            self.follow_a_rotation(process)

    def test_it_sees_a_rotation_while_the_broker_is_away(self):
        with self.running() as process:
            self.expect(process, "delivered", 1, 12)
            self.broker.wait_for(lambda: self.broker.watchers, "a watch")
            self.broker.stop()
            self.broker.present = [self.rotate()]
            self.broker.replies["Watch"] = [Error("NotYet", {"text": "Mayfly is being started"}), None]
            self.broker.start()
            self.expect(process, "rotated", 2, 17)
            self.expect_end(process)

    def test_it_waits_for_a_broker_that_is_being_started(self):
        self.broker.replies["Request"] = [
            Error("NotYet", {"text": "Mayfly is being started"}),
            self.broker.replies["Request"],
        ]
        with self.running() as process:
            self.follow_a_rotation(process)

    def test_it_says_what_was_there_already(self):
        self.broker.replies["Request"] = {"delivery": self.delivery, "is_new": False}
        with self.running() as process:
            self.expect(process, "was there already", 1, 12)

    def test_a_refusal_ends_it_with_the_reason(self):
        self.broker.replies["Request"] = Error("NoTarget", {"text": "/run/secrets is missing", "advice": "tmpfs: x"})
        with self.running() as process:
            said = self.expect_end(process, 1)
        self.assertIn("/run/secrets is missing", said)
        self.assertIn("tmpfs: x", said)

    def test_a_mount_that_is_missing_ends_it(self):
        self.broker.path = self.broker.root / "nowhere/container.sock"
        with self.running() as process:
            self.expect_end(process, 1)
        self.broker.path = self.broker.root / "container.sock"


class Python(Example, unittest.TestCase):
    command = [sys.executable, str(SOURCE / "examples/python/secret_reader.py")]


class C(Example, unittest.TestCase):
    """Built as a user does it: from what is installed, found by pkg-config."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.root = cls.directory / "root"
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", str(cls.root))
        (cls.package,) = cls.root.rglob("libmayfly.pc")
        environment = {"PKG_CONFIG_SYSROOT_DIR": str(cls.root), "PKG_CONFIG_PATH": str(cls.package.parent)}
        cls.flags = run("pkg-config", "--cflags", "--libs", "libmayfly", env={**os.environ, **environment}).split()
        cls.command = [str(cls.compile("reader", SOURCE / "examples/c/secret_reader.c", cls.flags))]

    @classmethod
    def compile(cls, name, source, flags):
        program = cls.directory / name
        library = f"-Wl,-rpath,{cls.package.parent.parent}"
        warnings = ["-Wall", "-Wextra", "-Werror", "-std=c11", "-D_DEFAULT_SOURCE"]
        run(*CC, *warnings, str(source), "-o", str(program), library, *flags)
        return program

    def test_the_archive_keeps_its_names_to_itself(self):
        """A program with functions of the same names is linked with it, and both keep their own."""
        source = self.directory / "same_names.c"
        source.write_text(
            "#include <mayfly/mayfly.h>\n"
            "int json_tree_read(void);\nint failure_set(void);\n"
            "int json_tree_read(void) { return 1; }\nint failure_set(void) { return 2; }\n"
            "int main(void)\n{\n\tstruct mayfly *m;\n\tstruct mayfly_identity *who;\n\n"
            "\tif (mayfly_open(0, &m, 0) != MAYFLY_OK || mayfly_whoami(m, 5000, &who, 0) != MAYFLY_REFUSED)\n"
            "\t\treturn 1;\n\tmayfly_close(m);\n"
            "\treturn json_tree_read() + failure_set() == 3 ? 0 : 2;\n}\n"
        )
        flags = [flag for flag in self.flags if flag != "-lmayfly"] + ["-l:libmayfly.a"]
        program = self.compile("same_names", source, flags)
        self.assertNotIn("libmayfly", run("readelf", "-d", str(program)).replace(str(self.root), ""))
        self.broker.replies["WhoAmI"] = Error("Refused", {"text": "x"})
        run(str(program), env={"MAYFLY_SOCKET": str(self.broker.path)})

    def test_the_library_needs_libc_only(self):
        (library,) = self.root.rglob("libmayfly.so.0.*")
        needed = [line for line in run("readelf", "-d", str(library)).splitlines() if "(NEEDED)" in line]
        self.assertEqual([line.split("[")[1] for line in needed if "libclang_rt" not in line], ["libc.so.6]"])


@unittest.skipUnless(shutil.which("go"), "there is no Go")
class Go(Example, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-examples-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        source, cache = SOURCE / "examples/go", SOURCE / ".cache/go/build"
        environment = {
            **os.environ,
            # What scripts/build-compose has built of Go's own library need not be built again.
            "GOCACHE": str(cache if cache.is_dir() else cls.directory / "cache"),
            "GOPATH": str(cls.directory / "path"),
            "GOTOOLCHAIN": "local",
            "GOPROXY": "off",
            "GOFLAGS": "-modcacherw",
            "CGO_ENABLED": "0",
        }
        cls.command = [str(cls.directory / "reader")]
        run("go", "build", "-o", cls.command[0], ".", cwd=source, env=environment)
