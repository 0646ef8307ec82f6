"""What opens the store: passphrase, recovery key, host key file; given wrongly, taken away, changed."""

import json
import os
import unittest

import alone
import harness

PASSPHRASE = b"correct horse battery staple"


class Keys(unittest.TestCase):
    def setUp(self):
        harness.need(os.geteuid() == 0, "it needs root")
        self.mayfly = alone.Mayfly("keys")
        self.addCleanup(self.mayfly.close)
        self.mayfly.config_with(allow_reveal=True)
        self.recovery_file = self.mayfly.root / "recovery-key"

    def start(self, *unlock, value=None):
        self.mayfly.start(init=False)
        self.ok("init", "--environment", "prod", "--recovery-key-to", self.recovery_file, *unlock, value=value)
        self.ok("put", "prod/kept", value=b"kept")

    def ok(self, *arguments, value=None):
        result = self.mayfly.cli(*arguments, value=value)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def no(self, *arguments, value=None, code=1):
        result = self.mayfly.cli(*arguments, value=value)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertLessEqual(len(result.stderr.splitlines()), 3, result.stderr)
        return result.stderr.decode()

    def state(self):
        return self.mayfly.status()["state"]

    def kinds(self):
        return {slot["kind"]: slot["id"] for slot in json.loads(self.ok("key", "list", "--json"))["slots"]}

    def check_open(self):
        self.assertEqual(self.mayfly.cli("reveal", "prod/kept").stdout, b"kept")

    def test_a_passphrase_opens_the_store_after_each_start_and_nothing_else_does(self):
        self.start("--unlock", "passphrase", value=PASSPHRASE)
        self.assertEqual(set(self.kinds()), {"passphrase", "recovery"})
        self.assertFalse((self.mayfly.root / "etc/mayfly/host.key").exists())
        self.mayfly.restart()
        self.assertEqual(self.state(), "locked")
        for words in (
            ("put", "prod/x"),
            ("list",),
            ("show", "prod/kept"),
            ("reveal", "prod/kept"),
            ("generate", "prod/x"),
            ("audit", "verify"),
            ("remove", "prod/kept", "--yes"),
            ("key", "add", "recovery"),
            ("set", "fill", "dev"),
        ):
            with self.subTest(" ".join(words)):
                self.assertRegex(self.no(*words, value=b"x"), r"locked since \d\d:\d\d; run `mayfly unlock`")
        # What needs no key goes on: status, audit, keys' list, and the plugin's definitions.
        self.ok("status")
        self.ok("audit")
        self.ok("key", "list")
        with self.mayfly.plugin() as plugin:
            self.assertEqual(plugin.post("VolumeDriver.Create", {"Name": "while-locked"}).status, 200)
            self.assertEqual(plugin.post("VolumeDriver.Get", {"Name": "while-locked"}).status, 200)
        self.assertIn("that is not the passphrase", self.no("unlock", value=b"wrong"))
        self.assertIn("mayfly unlock --recovery", self.no("unlock", value=PASSPHRASE + b"x"))
        self.assertIn("the passphrase is empty", self.no("unlock", value=b""))
        self.assertIn("unlocked", self.ok("unlock", value=PASSPHRASE + b"\n"))
        self.check_open()
        self.ok("lock")
        self.assertEqual(self.state(), "locked")
        self.ok("unlock", "--from-file", "-", value=PASSPHRASE)
        self.check_open()

    def test_a_host_key_opens_it_at_each_start_and_after_a_lock(self):
        self.start()
        self.mayfly.restart()
        self.check_open()
        self.ok("lock")
        self.no("reveal", "prod/kept")
        self.assertIn("unlocked", self.ok("unlock"))
        self.check_open()
        record = self.mayfly.audit("--action", "unlock")[-1]
        self.assertEqual((record["decision"], record["actor"]["uid"]), ("granted", 0))

    def test_the_recovery_key_opens_it_however_it_is_typed(self):
        self.start("--unlock", "passphrase", value=PASSPHRASE)
        text = self.recovery_file.read_text().strip()
        self.assertEqual(self.recovery_file.stat().st_mode & 0o777, 0o600)
        for typed in (
            text,
            text.lower(),
            text.replace("-", " "),
            text.replace("-", ""),
            text.replace("-", "\n"),
            f"  {text}\n\n",
        ):
            self.ok("lock")
            self.ok("unlock", "--recovery", value=typed.encode())
            self.check_open()
        self.ok("lock")
        groups = text.split("-")
        wrong = groups[4][:-1] + ("2" if groups[4][-1] != "2" else "3")
        self.assertIn(
            "group 5 of the recovery key is mistyped",
            self.no("unlock", "--recovery", value="-".join([*groups[:4], wrong, *groups[5:]]).encode()),
        )
        self.assertIn(
            "65 characters, this one 60", self.no("unlock", "--recovery", value="-".join(groups[:-1]).encode())
        )
        self.assertIn("character that none has", self.no("unlock", "--recovery", value=("!" + text[1:]).encode()))
        self.assertEqual(self.state(), "locked")
        self.assertNotIn(groups[2], self.mayfly.log_text())

    def test_ways_are_added_and_taken_away_but_never_the_last(self):
        self.start()
        ids = self.kinds()
        self.assertIn("passphrase", self.ok("key", "add", "passphrase", value=PASSPHRASE))
        self.ok("key", "remove", str(ids["host_key"]), "--yes")
        self.mayfly.restart()
        self.assertEqual(self.state(), "locked")
        self.ok("unlock", value=PASSPHRASE)
        self.ok("key", "remove", str(ids["recovery"]), "--yes")
        self.assertIn("mayfly: key remove", self.no("key", "remove", str(self.kinds()["passphrase"]), "--yes"))
        self.assertIn("mayfly: key remove", self.no("key", "remove", "4711", "--yes"))
        self.no("key", "remove", "x", code=2)
        self.no("key", "remove", "1", code=2)  # no terminal to ask at
        old = self.recovery_file.read_bytes()
        self.ok("lock")
        self.no("unlock", "--recovery", value=old)
        self.ok("unlock", value=PASSPHRASE)
        self.check_open()
        self.ok("key", "add", "recovery", "--recovery-key-to", self.mayfly.root / "recovery-2")
        self.ok("key", "add", "recovery", "--recovery-key-to", self.mayfly.root / "recovery-3")
        self.ok("lock")
        self.no("unlock", "--recovery", value=(self.mayfly.root / "recovery-2").read_bytes())
        self.ok("unlock", "--recovery", value=(self.mayfly.root / "recovery-3").read_bytes())
        self.check_open()

    def test_a_new_root_key_keeps_every_value_and_closes_the_old_ways(self):
        self.start()
        self.ok("key", "add", "passphrase", value=PASSPHRASE)
        for i in range(20):
            self.ok("put", f"prod/n{i}", value=f"value {i}".encode())
        old = self.recovery_file.read_bytes()
        self.assertIn(
            "that is not the passphrase",
            self.no("key", "rotate", "--recovery-key-to", self.mayfly.root / "r", value=b"wrong"),
        )
        self.assertFalse((self.mayfly.root / "r").exists())
        said = self.ok("key", "rotate", "--recovery-key-to", self.mayfly.root / "new", value=PASSPHRASE)
        self.assertIn("21 values' keys were wrapped again", said)
        self.ok("lock")
        self.no("unlock", "--recovery", value=old)
        self.ok("unlock", "--recovery", value=(self.mayfly.root / "new").read_bytes())
        self.mayfly.restart()  # by the host key
        self.check_open()
        for i in range(20):
            self.assertEqual(self.mayfly.cli("reveal", f"prod/n{i}").stdout, f"value {i}".encode())
        self.ok("audit", "verify")

    def test_init_is_for_once_and_asks_for_what_it_needs(self):
        del self.mayfly.config["environment"]
        self.mayfly.write_config()
        self.mayfly.start(init=False)
        self.assertIn("there is no store yet; run `mayfly init`", self.no("put", "prod/x", value=b"x"))
        self.assertIn("which set is this host's environment?", self.no("init", code=2))
        self.assertIn("is no name for a set", self.no("init", "--environment", "Prod", code=2))
        self.mayfly.config["environment"] = "prod"
        self.mayfly.write_config()
        self.assertIn("environment of this host is 'prod' already", self.no("init", "--environment", "dev"))
        existing = self.mayfly.root / "taken"
        existing.write_text("mine")
        self.assertIn(str(existing), self.no("init", "--recovery-key-to", existing))
        self.assertEqual(existing.read_text(), "mine")
        self.assertEqual(self.state(), "uninitialised")
        said = self.mayfly.cli("init")
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertRegex(said.stdout.decode(), r"[0-9A-Z]{5}(-[0-9A-Z]{5}){12}")
        self.assertIn("there is a store already, it is unlocked", self.no("init"))
        self.ok("put", "prod/kept", value=b"kept")
        self.check_open()

    def test_containers_that_were_refused_while_locked_are_not_asked_of_a_store_that_is_open(self):
        self.start("--unlock", "passphrase", value=PASSPHRASE)
        self.ok("lock")
        self.assertEqual(json.loads(self.ok("unlock", "--json", value=PASSPHRASE)), {"waiting": []})
