"""Backups: of a running broker, on to a host that has none, into a directory without any; damaged, cut, of another."""

import json
import os
import pathlib
import secrets
import subprocess
import tempfile
import threading
import time
import unittest

import alone
import harness

POLICY = {"grants": [{"name": "web", "match": {"compose.service": "web"}, "secrets": [{"name": "db-password"}]}]}
CANARY = b"canary-" + secrets.token_hex(16).encode()


class Backup(unittest.TestCase):
    def setUp(self):
        harness.need(os.geteuid() == 0, "it needs root")
        self.old = self.mayfly("bo")
        self.old.config_with(allow_reveal=True)
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="mayfly-flow-"))
        self.directory = pathlib.Path(directory)
        self.file = self.directory / "backup"

    def mayfly(self, tag):
        mayfly = alone.Mayfly(tag)
        self.addCleanup(mayfly.close)
        return mayfly

    def ok(self, mayfly, *arguments, value=None):
        result = mayfly.cli(*arguments, value=value)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def no(self, mayfly, *arguments, value=None, code=1):
        result = mayfly.cli(*arguments, value=value)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertLessEqual(len(result.stderr.splitlines()), 3, result.stderr)
        return result.stderr.decode()

    def start_old(self):
        self.old.start()
        (self.old.root / "etc/mayfly/policy.d").mkdir(exist_ok=True)
        (self.old.root / "etc/mayfly/policy.d/web.json").write_text(json.dumps(POLICY))
        self.ok(self.old, "policy", "reload")
        self.ok(self.old, "put", "prod/db-password", value=b"first")
        self.ok(self.old, "put", "prod/db-password", "--stage", value=CANARY)
        self.ok(self.old, "put", "prod/db-password/deeper", value=b"x")
        self.ok(self.old, "put", "prod/gone", value=b"y")
        self.ok(self.old, "remove", "prod/gone", "--yes")

    def key(self):
        return self.ok(self.old, "key", "backup", "--from-file", self.old.root / "recovery-key").strip()

    def back_up(self):
        self.start_old()
        return self.ok(self.old, "backup", self.file, "--to", self.key())

    def start_new(self):
        new = self.mayfly("bn")
        new.config = {key: new.config[key] for key in ("user", "engines")} | {"allow_reveal": True}  # nothing decided yet
        new.write_config()
        new.start(init=False)
        return new

    def restore(self, new, *more, **options):
        return self.ok(new, "restore", self.file, "--recovery-key", self.old.root / "recovery-key", *more, **options)

    def test_a_store_goes_on_to_another_host_with_its_policy_and_opens_there_after_a_restart(self):
        said = self.back_up()
        self.assertIn("3 secrets (4 versions)", said)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual([p.name for p in self.directory.iterdir()], ["backup"])
        self.assertNotIn(CANARY, self.file.read_bytes())
        self.assertFalse(self.old.state("store.db.copy").exists())
        new = self.start_new()
        said = self.restore(new)
        self.assertIn("3 secrets (4 versions)", said)
        for _ in range(2):
            self.assertEqual(new.cli("reveal", "prod/db-password").stdout, CANARY)
            self.assertEqual(new.cli("reveal", "prod/db-password", "--version", "1").stdout, b"first")
            self.assertEqual(new.cli("reveal", "prod/db-password/deeper").stdout, b"x")
            self.assertEqual(json.loads(self.ok(new, "policy", "show", "--json"))["grants"][0]["name"], "web")
            new.restart()
        self.ok(new, "undelete", "prod/gone")
        self.ok(new, "lock")
        self.ok(new, "unlock", "--recovery", "--from-file", self.old.root / "recovery-key")
        self.assertEqual(
            {slot["kind"] for slot in json.loads(self.ok(new, "key", "list", "--json"))["slots"]},
            {"host_key", "recovery"},
        )
        self.ok(new, "audit", "verify")
        # A backup of what came from a backup goes to the same key.
        self.ok(new, "backup", self.directory / "second", "--to", self.key())

    def test_the_audit_tells_of_both_and_where_the_other_chain_ended(self):
        self.back_up()
        record = self.old.audit("--action", "backup")[-1]
        self.assertEqual((record["decision"], record["to"]), ("granted", self.key()))
        new = self.start_new()
        self.restore(new)
        restored = new.audit("--action", "restored")[-1]
        # The head is that of the backup's own record, the last before it was written.
        self.assertEqual((restored["audit_seq"], restored["audit_mac"]), (record["seq"], record["mac"]))
        self.assertEqual(restored["secrets"], 3)
        self.assertEqual(new.audit("--action", "restore")[-1]["decision"], "granted")

    def test_without_a_broker_values_become_files_in_memory_and_the_old_audit_can_be_proved(self):
        self.back_up()
        self.old.stop()
        into = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-flow-", dir="/dev/shm"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(into)], check=False)
        nobody = alone.Mayfly("bx")
        self.addCleanup(nobody.close)
        self.restore(nobody, "--to-dir", into)
        values = {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}
        self.assertEqual(values["secrets/prod/db-password"], CANARY)
        self.assertIn(values.get("secrets/prod/db-password~/deeper"), (b"x",))
        self.assertNotIn("secrets/prod/gone", values)
        self.assertEqual(json.loads(values["policy.d/web.json"]), POLICY)
        self.assertIn("mayflyd.json", values)
        self.assertEqual((into / "secrets/prod/db-password").stat().st_mode & 0o777, 0o400)
        head = json.loads(values["audit-head.json"])
        verifier = pathlib.Path(__file__).resolve().parent.parent / "unit/audit/verify_audit.py"
        result = subprocess.run(
            ["/usr/bin/python3", str(verifier), str(self.old.state("audit")), str(into / "audit-first.key")],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        lines = [json.loads(x) for x in (self.old.state("audit") / "audit.jsonl").read_text().splitlines()]
        self.assertIn((head["seq"], head["mac"]), [(line["seq"], line["mac"]) for line in lines])

    def test_values_are_not_written_to_a_disk_nor_among_other_files(self):
        self.back_up()
        key = self.old.root / "recovery-key"
        on_disk = self.directory / "x"
        self.assertIn("on a disk", self.no(self.old, "restore", self.file, "--recovery-key", key, "--to-dir", on_disk))
        self.assertFalse(on_disk.exists())
        into = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-flow-", dir="/dev/shm"))
        self.addCleanup(subprocess.run, ["rm", "-rf", str(into)], check=False)
        (into / "mine").write_text("")
        self.assertIn("not empty", self.no(self.old, "restore", self.file, "--recovery-key", key, "--to-dir", into))
        self.assertEqual([p.name for p in into.iterdir()], ["mine"])

    def test_damaged_cut_and_foreign_files_change_nothing_and_say_why(self):
        self.back_up()
        new = self.start_new()
        whole = self.file.read_bytes()
        before = sorted(p.name for p in new.state().iterdir())
        key = self.old.root / "recovery-key"
        middle = len(whole) // 2
        for name, content, words in (
            ("damaged", whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "damaged"),
            ("cut", whole[:-1], "damaged or cut off"),
            ("header only", whole[:152], "cut off"),
            ("empty", b"", "no backup of Mayfly"),
            ("another file", b"x" * 500, "no backup of Mayfly"),
            ("continued", whole + b"x", "damaged"),
            ("format 2", whole[:14] + b"2" + whole[15:], "reads format 1"),
        ):
            with self.subTest(name):
                self.file.write_bytes(content)
                self.assertIn(words, self.no(new, "restore", self.file, "--recovery-key", key))
                self.assertIn(words, self.no(new, "restore", self.file, "--recovery-key", key, "--to-dir", "/dev/shm/x"))
                self.assertFalse(pathlib.Path("/dev/shm/x").exists())
                # The broker does not rely on the command: whoever calls it with such a file is refused as well.
                with alone.memfd(key.read_bytes()) as typed, open(self.file, "rb") as file, new.operator() as operator:
                    reply = operator.call("Restore", (file.fileno(), typed), file_fd=0, recovery_fd=1)
                    self.assertIn(words, reply["parameters"]["text"])
                self.assertEqual(new.status()["state"], "uninitialised")
        after = sorted(p.name for p in new.state().iterdir())
        self.assertEqual([x for x in after if "store" in x], [x for x in before if "store" in x])
        self.assertFalse((new.root / "etc/mayfly/policy.d/web.json").exists())
        self.file.write_bytes(whole)
        wrong = self.mayfly("bw")
        wrong.start()
        said = self.no(new, "restore", self.file, "--recovery-key", wrong.root / "recovery-key")
        self.assertIn(self.key(), said)
        self.assertIn("not the recovery key of this backup", said)
        self.restore(new)
        self.assertEqual(new.cli("reveal", "prod/db-password").stdout, CANARY)

    def test_a_store_that_is_there_is_never_written_over_nor_are_files(self):
        self.back_up()
        self.assertIn("there is a store already", self.no(self.old, "restore", self.file, value=b"x"))
        with alone.memfd(b"x") as typed, open(self.file, "rb") as file, self.old.operator() as operator:
            reply = operator.call("Restore", (file.fileno(), typed), file_fd=0, recovery_fd=1)
            self.assertEqual(reply["error"], "org.mayfly.Operator.AlreadyInitialised")
        new = self.start_new()
        folder = new.root / "etc/mayfly/policy.d"
        folder.mkdir(exist_ok=True)
        (folder / "web.json").write_text('{ "grants": [] }')
        key = self.old.root / "recovery-key"
        self.assertIn("something else than the backup", self.no(new, "restore", self.file, "--recovery-key", key))
        self.assertEqual(new.status()["state"], "uninitialised")
        (folder / "web.json").unlink()
        new.config |= {"environment": "prod", "sets": {"prod": {"provider": "store"}}}
        new.write_config()
        result = new.cli("restore", self.file, "--recovery-key", key)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"mayflyd.json stays as it is", result.stderr)
        self.assertEqual(json.loads((new.root / "etc/mayfly/mayflyd.json").read_text()), new.config)

    def test_a_backup_while_values_are_put_is_of_one_moment(self):
        self.start_old()
        key = self.key()
        for i in range(200):
            self.ok(self.old, "put", f"prod/n{i}", value=b"v")
        is_enough = threading.Event()
        put = []

        def keep_putting():
            while not is_enough.is_set():
                number = f"{len(put):06}".encode()
                for name in ("prod/x", "prod/y"):
                    self.ok(self.old, "put", name, "--stage", value=number)
                put.append(number)

        thread = threading.Thread(target=keep_putting)
        thread.start()
        try:
            harness.wait_for(lambda: put, "a first pair is put", 30)
            for i in range(5):
                self.ok(self.old, "backup", self.directory / f"b{i}", "--to", key)
        finally:
            is_enough.set()
            thread.join()
        for i in range(5):
            into = pathlib.Path(f"/dev/shm/mayfly-flow-{os.getpid()}-{i}")
            self.addCleanup(subprocess.run, ["rm", "-rf", str(into)], check=False)
            recovery = self.old.root / "recovery-key"
            self.ok(self.old, "restore", self.directory / f"b{i}", "--recovery-key", recovery, "--to-dir", into)
            x, y = (int((into / f"secrets/prod/{name}").read_text()) for name in ("x", "y"))
            self.assertIn(x - y, (0, 1))
            self.assertEqual(len(list((into / "secrets/prod").glob("n*"))), 200)

    def test_a_key_that_is_none_a_locked_store_and_a_target_that_is_no_backup_are_refused(self):
        self.start_old()
        key = self.key()
        self.assertIn("--to KEY", self.no(self.old, "backup", self.file, code=2))
        self.assertIn("mistyped", self.no(self.old, "backup", self.file, "--to", key[:-1] + "_", code=2))
        self.assertIn("begins with mayfly-backup-", self.no(self.old, "backup", self.file, "--to", "x", code=2))
        self.file.write_text("something of mine")
        self.assertIn("is no backup", self.no(self.old, "backup", self.file, "--to", key))
        self.assertEqual(self.file.read_text(), "something of mine")
        self.file.unlink()
        self.ok(self.old, "lock")
        self.assertIn("mayfly unlock", self.no(self.old, "backup", self.file, "--to", key))
        self.assertEqual(list(self.directory.iterdir()), [])
        self.ok(self.old, "unlock")
        self.ok(self.old, "backup", self.file, "--to", key)
        self.ok(self.old, "backup", self.file, "--to", key)  # a newer one in its place
        reader, writer = os.pipe()
        with self.old.operator() as operator:
            reply = operator.call("Backup", (writer,), key=key, file_fd=0)
            self.assertIn("regular file", reply["parameters"]["text"])
        os.close(reader)
        os.close(writer)

    def test_a_broker_that_is_killed_at_any_moment_leaves_no_half_backup(self):
        self.start_old()
        key = self.key()
        yesterday = b"mayfly backup 1\n of yesterday"
        with self.old.operator() as operator:
            for i in range(300):
                with alone.memfd(secrets.token_bytes(20000)) as value:
                    operator.call("Put", (value,), name=f"prod/n{i}", value_fd=0)
        cut = 0
        for moment in (0, 1, 3, 6):
            self.file.write_bytes(yesterday)
            broker = self.old.child("mayfly-broker")
            thread = threading.Thread(target=self.old.cli, args=("backup", self.file, "--to", key))
            thread.start()
            time.sleep(moment * 0.01)
            os.kill(broker, 9)
            thread.join()
            self.assertEqual([p.name for p in self.directory.iterdir()], ["backup"])
            if self.file.read_bytes() == yesterday:
                cut += 1
            else:
                into = pathlib.Path(f"/dev/shm/mayfly-flow-{os.getpid()}-k")
                self.addCleanup(subprocess.run, ["rm", "-rf", str(into)], check=False)
                self.restore(self.old, "--to-dir", into)
                subprocess.run(["rm", "-rf", str(into)], check=True)
            harness.wait_for(lambda: self.old.cli("list").returncode == 0, "the next broker answers", 30)
            self.assertFalse(self.old.state("store.db.copy").exists())
        self.assertGreater(cut, 0)
        self.ok(self.old, "backup", self.file, "--to", key)

    def test_a_new_recovery_key_does_not_make_older_or_newer_backups_useless(self):
        self.start_old()
        old_key, old_recovery = self.key(), (self.old.root / "recovery-key").read_bytes()
        self.ok(self.old, "key", "rotate", "--recovery-key-to", self.old.root / "second")
        self.ok(self.old, "backup", self.file, "--to", old_key)
        new = self.start_new()
        self.ok(new, "restore", self.file, value=old_recovery)
        self.assertEqual(new.cli("reveal", "prod/db-password").stdout, CANARY)
        self.ok(new, "lock")
        self.ok(new, "unlock", "--recovery", value=old_recovery)

    def test_a_restored_store_may_be_opened_by_a_passphrase(self):
        self.back_up()
        new = self.start_new()
        self.restore(new, "--unlock", "passphrase", "--from-file", "-", value=b"correct horse")
        self.assertFalse((new.root / "etc/mayfly/host.key").exists())
        new.restart()
        self.assertEqual(new.status()["state"], "locked")
        self.ok(new, "unlock", value=b"correct horse")
        self.assertEqual(new.cli("reveal", "prod/db-password").stdout, CANARY)


if __name__ == "__main__":
    unittest.main()
