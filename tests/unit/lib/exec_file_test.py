"""The file that is bound into containers: small, static, and at home in a root that has nothing else."""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from container_stand_in import ContainerStandIn, Files

PROGRAM = pathlib.Path(os.environ["MAYFLY_EXEC"])
PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 2, 3, 0x6474E551
DT_NEEDED, DT_FLAGS_1, DF_1_PIE = 1, 0x6FFFFFFB, 0x08000000
NOBODY = 65534


def segments(content):
    """(type, flags, offset, size) of each program header of a 64-bit ELF file."""
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for i in range(count):
        kind, flags, at, _, _, length = struct.unpack_from("<IIQQQQ", content, offset + i * size)
        yield kind, flags, at, length


class TheFile(unittest.TestCase):
    def test_it_has_at_most_1_mib(self):
        self.assertLessEqual(PROGRAM.stat().st_size, 1 << 20)

    def test_it_needs_no_other_file(self):
        content = PROGRAM.read_bytes()
        tags = {}
        for kind, flags, at, length in segments(content):
            self.assertNotEqual(kind, PT_INTERP)
            if kind == PT_GNU_STACK:
                self.assertFalse(flags & 1, "its stack is executable")
            if kind == PT_DYNAMIC:
                tags = dict(struct.iter_unpack("<QQ", content[at : at + length]))
        self.assertNotIn(DT_NEEDED, tags)
        self.assertTrue(tags.get(DT_FLAGS_1, 0) & DF_1_PIE, "it is always loaded at the same address")

    def test_it_has_no_symbols(self):
        self.assertNotIn(b".symtab", PROGRAM.read_bytes())


@unittest.skipIf(os.geteuid() != 0, "a root of its own needs CAP_SYS_CHROOT")
class InAScratchRoot(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-scratch-"))
        self.root.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(PROGRAM, self.root / "mayfly")

    def run_inside(self, *words, env=None):
        def enter():
            os.chroot(self.root)
            os.chdir("/")
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)

        # pylint: disable=subprocess-popen-preexec-fn
        return subprocess.run(
            ["/mayfly", *words], env=env or {}, preexec_fn=enter, capture_output=True, timeout=60, check=False
        )

    def test_help_and_errors(self):
        result = self.run_inside("--help")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        result = self.run_inside("request")
        self.assertEqual(result.returncode, 3, result)
        self.assertIn(b"connect to '/run/mayfly/container.sock': No such file or directory", result.stderr)
        result = self.run_inside("exec", "--wait", "0s", "--env", "A=a", "--", "/mayfly")
        self.assertEqual(result.returncode, 1, result)

    def test_a_request_at_the_customary_place(self):
        directory = self.root / "run/mayfly"
        directory.mkdir(parents=True)
        broker = ContainerStandIn(directory / "container.sock").start()
        self.addCleanup(broker.close)
        broker.replies["Request"] = {
            "delivery": Files(self.root / "run/secrets", "/run/secrets").fill(a=b"x"),
            "is_new": True,
        }
        result = self.run_inside("request", "--wait", "5s")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn(b"/run/secrets/a: prod/a version 1", result.stdout)
        self.assertEqual(broker.problems, [])

    def test_exec_becomes_the_only_program_that_there_is(self):
        """It is run by itself, and finds the socket by the variable that it was given as a secret."""
        broker = ContainerStandIn(self.root / "socket").start()
        self.addCleanup(broker.close)
        files = Files(self.root / "run/secrets", "/run/secrets")
        broker.replies["Request"] = {"delivery": files.fill(where=b"/socket"), "is_new": False}
        result = self.run_inside("exec", "--env", "MAYFLY_SOCKET=where", "--", "mayfly", "request", env={"PATH": "/"})
        self.assertEqual(result.returncode, 0, result)
        self.assertIn(b"was there already: /run/secrets", result.stdout)
        self.assertEqual(broker.problems, [])
