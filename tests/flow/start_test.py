"""What mayflyd needs for a start, one thing missing or wrong at a time: it says which, and leaves nothing behind."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import unittest

import alone
import harness


class Start(unittest.TestCase):
    def setUp(self):
        harness.need(os.geteuid() == 0, "it needs root")
        self.mayfly = alone.Mayfly("start")
        self.addCleanup(self.mayfly.close)
        self.key = self.mayfly.root / "etc/mayfly/host.key"
        self.socket = pathlib.Path(f"/run/docker/plugins/{self.mayfly.plugin_names[0]}.sock")

    def refused(self, *words):
        code, said = self.mayfly.start_badly()
        self.assertEqual(code, 1, said)
        for word in words:
            self.assertIn(word, said)
        self.assertFalse(self.socket.exists())
        self.assertNotIn(str(self.mayfly.root), harness.mounts())
        return said

    def store_something(self):
        self.mayfly.start()
        self.mayfly.put("prod/kept", "kept")
        self.mayfly.stop()

    def check_kept(self):
        self.mayfly.config_with(allow_reveal=True)
        self.mayfly.start(init=False)
        self.assertEqual(self.mayfly.cli("reveal", "prod/kept").stdout, b"kept")

    def test_too_little_memory_may_be_locked(self):
        self.mayfly.wrapper = [
            "prlimit",
            "--memlock=65536:65536",
            "setpriv",
            "--bounding-set=-ipc_lock",
            "--inh-caps=-ipc_lock",
        ]
        self.refused("lock 65536 KiB of memory for secrets", "RLIMIT_MEMLOCK is 64 KiB", "CAP_IPC_LOCK")
        # Control: with the capability the limit does not count.
        del self.mayfly.wrapper[2:]
        self.mayfly.start()

    def test_a_user_that_does_not_exist(self):
        self.mayfly.config_with(user="nobody-has-this-name")
        self.refused("user 'nobody-has-this-name' does not exist", "adduser --system")

    def test_a_user_by_a_large_number(self):
        self.mayfly.config_with(user=100001)
        self.mayfly.start()
        self.assertEqual(self.mayfly.state().stat().st_uid, 100001)

    def test_a_host_key_that_others_can_read_or_of_another_length(self):
        self.store_something()
        good = self.key.read_bytes()
        self.key.chmod(0o444)
        self.refused(str(self.key), "nobody else can read", "chmod 0400")
        self.key.chmod(0o400)
        os.chown(self.key, harness.USER, 0)
        self.refused(str(self.key), "file of root")
        os.chown(self.key, 0, 0)
        for length in (0, 31, 33):
            self.key.write_bytes(b"k" * length)
            self.refused(f"{self.key} has {length} bytes, a host key has 32")
        self.key.unlink()
        self.key.symlink_to("/etc/hostname")
        self.refused(f"{self.key} is a symbolic link")
        self.key.unlink()
        self.key.mkdir()
        self.refused(str(self.key), "regular file")
        self.key.rmdir()
        self.key.write_bytes(good)
        self.key.chmod(0o400)
        self.check_kept()

    def test_another_host_key_or_none_leaves_the_store_locked_and_says_how_to_go_on(self):
        self.store_something()
        good = self.key.read_bytes()
        self.key.write_bytes(os.urandom(32))
        self.mayfly.start(init=False)
        status = self.mayfly.status()
        self.assertEqual(status["state"], "locked")
        self.assertIn("the host key file does not open the store: that is not the host key", status["problems"])
        result = self.mayfly.cli("unlock")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"mayfly unlock --recovery", result.stderr)
        recovery = (self.mayfly.root / "recovery-key").read_bytes()
        self.assertEqual(self.mayfly.cli("unlock", "--recovery", value=recovery).returncode, 0)
        # From here a person can make the other file a key.
        self.assertEqual(self.mayfly.cli("key", "add", "host-key").returncode, 0)
        self.assertEqual(self.mayfly.status()["problems"], [])
        self.mayfly.restart()
        self.assertEqual(self.mayfly.status()["state"], "unlocked")
        self.mayfly.stop()
        self.key.unlink()
        self.mayfly.start(init=False)
        self.assertEqual(self.mayfly.status()["state"], "locked")
        self.mayfly.stop()
        self.key.write_bytes(good)
        self.key.chmod(0o400)
        self.check_kept()

    def test_a_second_mayflyd_on_one_store_is_refused_and_the_first_goes_on(self):
        self.mayfly.start()
        broker = self.mayfly.child("mayfly-broker")
        code, said = self.mayfly.start_badly()
        self.assertEqual(code, 1)
        self.assertIn(f"{self.mayfly.state()} is in use by another mayflyd", said)
        self.assertEqual(self.mayfly.child("mayfly-broker"), broker)
        self.assertTrue(self.socket.exists())
        self.mayfly.put("prod/after", "after")

    def test_a_second_mayflyd_with_the_same_plugin_name_is_refused(self):
        self.mayfly.start()
        other = alone.Mayfly("start")
        self.addCleanup(shutil.rmtree, other.root)
        code, said = other.start_badly()
        self.assertEqual(code, 1)
        self.assertIn(f"{self.socket}: another process serves it", said)
        self.assertTrue(self.socket.exists())
        with self.mayfly.plugin() as plugin:
            self.assertEqual(plugin.post("Plugin.Activate", b"").status, 200)

    def test_a_socket_that_a_dead_process_left_is_replaced(self):
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.socket))
        self.mayfly.start()
        with self.mayfly.plugin() as plugin:
            self.assertEqual(plugin.post("Plugin.Activate", b"").status, 200)

    def test_a_read_only_disk(self):
        self.store_something()
        state = self.mayfly.state()
        subprocess.run(["mount", "--bind", state, state], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
            code, said = self.mayfly.start_badly()
            self.assertEqual(code, 1)
            self.assertIn(f"{state}", said)
            self.assertIn("Read-only file system", said)
        finally:
            subprocess.run(["umount", state], check=True)
        self.check_kept()

    def test_state_that_belongs_to_somebody_else(self):
        """As after `cp -r` of a backup by root."""
        self.store_something()
        for path in self.mayfly.state().rglob("*"):
            os.chown(path, 0, 0)
        self.refused("state.db", "permission denied; it must belong to the user who owns its directory")
        for path in self.mayfly.state().rglob("*"):
            os.chown(path, harness.USER, harness.USER)
        self.check_kept()

    def test_without_root(self):
        become = "import os, sys; os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)"
        code = f"{become}; os.execv(sys.argv[1], sys.argv[1:])"
        result = subprocess.run(
            ["/usr/bin/python3", "-c", code, self.mayfly.build / "daemon/mayflyd", "--root", self.mayfly.root],
            capture_output=True,
            text=True,
            check=False,
        )
        if "Permission denied" in result.stderr:
            self.skipTest("the build's directory is closed to others")
        self.assertEqual(result.returncode, 1)
        self.assertIn("must be started by root", result.stderr)

    def test_arguments_that_are_none(self):
        for arguments in (["--rot", "/x"], ["extra"], ["--root"]):
            result = subprocess.run(
                [self.mayfly.build / "daemon/mayflyd", *arguments], capture_output=True, text=True, check=False
            )
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn("usage: mayflyd", result.stderr)
        for child in ("mayfly-broker", "mayfly-mounter", "mayfly-engine"):
            result = subprocess.run(
                [self.mayfly.build / "daemon" / child, "--nonsense"], capture_output=True, text=True, check=False
            )
            self.assertEqual(result.returncode, 2, child)
            self.assertRegex(result.stderr, "mayflyd starts it|usage: ")

    def test_an_end_by_signal_leaves_nothing_behind_and_takes_less_than_a_second(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            self.mayfly.start()
            pids = harness.processes_below(self.mayfly.process.pid)
            self.assertLess(alone.elapsed(lambda h=how: self.mayfly.stop(h)), 3)
            self.assertEqual(self.mayfly.process.returncode, 0)
            self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in pids))
            self.assertFalse(self.socket.exists())
            self.assertFalse((self.mayfly.root / "run/mayfly/operator.sock").exists())
            self.assertNotIn(str(self.mayfly.root), harness.mounts())

    def test_a_start_after_all_were_killed_finds_everything(self):
        self.mayfly.start()
        self.mayfly.put("prod/kept", "kept")
        with self.mayfly.plugin() as plugin:
            plugin.post("VolumeDriver.Create", {"Name": "kept"})
        self.mayfly.kill_all()
        with contextlib.suppress(FileNotFoundError):
            self.assertTrue(self.socket.exists())
        self.check_kept()
        with self.mayfly.plugin() as plugin:
            self.assertEqual(plugin.post("VolumeDriver.Get", {"Name": "kept"}).status, 200)
        self.mayfly.mayfly("audit", "verify")
