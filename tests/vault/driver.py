"""The provider by itself (provider_driver.c) and a small server, as a test has them."""
import contextlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from vault_server import VaultServer

DRIVER = os.environ.get("MAYFLY_PROVIDER_DRIVER", "build/tests/vault/provider_driver")
READ = {"read", "list"}
ENOENT, EIDRM, EACCES, EHOSTDOWN, EINVAL = -2, -43, -13, -112, -22


class Driver:
    def __init__(self, config, state=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-vault-"))
        self.state = pathlib.Path(state or self.directory / "state")
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.directory / "config.json").write_text(json.dumps(config))
        self.process = subprocess.Popen([DRIVER, self.directory / "config.json", self.state], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines, self.seen = queue.Queue(), []
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()
        self.number = 0
        self.expect("ready")

    def collect(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def say(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def expect(self, key, value=None, timeout=15):
        """The first line, of those that nobody has taken, that has KEY (with VALUE)."""
        end = time.monotonic() + timeout
        while True:
            for i, line in enumerate(self.seen):
                if key in line and (value is None or line[key] == value):
                    return self.seen.pop(i)
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {key}={value} in {timeout} s; seen {self.seen}") from None
            if line is None:
                raise AssertionError(f"the driver has ended with {self.process.wait()}; seen {self.seen}")
            self.seen.append(line)

    def start_read(self, name, limit_ms=4500, set_name="prod"):
        self.number += 1
        self.say("read", self.number, set_name, name, limit_ms)
        return str(self.number)

    def read(self, name, limit_ms=4500, set_name="prod"):
        return self.expect("tag", self.start_read(name, limit_ms, set_name))

    def status(self, set_name="prod"):
        self.say("status")
        return next(s for s in self.expect("status")["status"] if s["set"] == set_name)

    def stop(self):
        self.say("stop")
        self.expect("stopped")
        self.process.wait(10)

    def close(self, keep_state=False):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.thread.join()
        self.process.stdout.close()
        if not keep_state:
            shutil.rmtree(self.directory, ignore_errors=True)


class VaultCase(unittest.TestCase):
    """A server with a mount of each kind and a role, and a provider that may read what is below shop/."""
    tls = None

    def setUp(self):
        self.server = self.serve()
        self.state = self.server.state
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-vault-files-"))
        self.addCleanup(shutil.rmtree, self.files)
        self.prepare(self.state)

    def serve(self, **options):
        server = VaultServer(**options).__enter__()
        self.addCleanup(server.__exit__)
        return server

    def prepare(self, state):
        state.policies["app"] = {"kv/data/shop/*": READ, "kv/metadata/shop/*": READ, "one/shop/*": READ,
                                 "database/creds/*": READ, "sys/leases/revoke": {"update"}}
        state.mount("kv")
        state.mount("one", 1)
        self.role_id = state.role("app")
        self.secret_id = state.secret_id("app")
        self.secret_file("role-id", self.role_id)
        self.secret_file("secret-id", self.secret_id)
        state.kv_put("kv", "shop/db", {"user": "app", "password": "geheim-1"})
        state.kv_put("kv", "shop/key", {"value": "only-one"})

    def secret_file(self, name, text, mode=0o400):
        path = self.files / name
        path.unlink(missing_ok=True)
        path.write_text(text + "\n")
        path.chmod(mode)
        return str(path)

    def vault(self, **changes):
        """The part "vault" of a set."""
        vault = {"address": self.server.address, "mount": "kv", "prefix": "shop/",
                 "auth": {"method": "approle", "role_id_file": str(self.files / "role-id"),
                          "secret_id_file": str(self.files / "secret-id")}, **changes}
        return {key: value for key, value in vault.items() if value is not None}

    def drive(self, state=None, sets=None, **changes):
        config = {"environment": "prod", "sets": sets or {"prod": {"provider": "vault", "vault": self.vault(**changes)}}}
        driver = Driver(config, state)
        self.addCleanup(driver.close)
        return driver

    @contextlib.contextmanager
    def environment(self, name, value):
        before = os.environ.get(name)
        os.environ[name] = value
        try:
            yield
        finally:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before

    def wait_for(self, condition, what, timeout=20):
        end = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), end, f"{what}: not within {timeout} s")
            time.sleep(0.02)

    def assert_value(self, value, answer):
        self.assertEqual((0, value), (answer["status"], answer.get("value")), answer)

    def assert_refused(self, status, answer, *words):
        self.assertEqual(status, answer["status"], answer)
        for word in words:
            self.assertIn(word, answer["error"])


__all__ = ["Driver", "VaultCase", "VaultServer", "READ", "ENOENT", "EIDRM", "EACCES", "EHOSTDOWN", "EINVAL"]
