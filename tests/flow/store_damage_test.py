"""Files of the state directory cut off, changed, exchanged: a secret comes out as it was stored, or not at all."""

import collections
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess

import alone
import harness

SECRETS = {f"prod/s{i}": f"value {i} of a secret".encode() * (i * 40 + 1) for i in range(8)}


class StoreDamage(harness.unittest.TestCase):
    """Each damage is done to a copy of the same good state directory."""

    @classmethod
    def setUpClass(cls):
        harness.need(os.geteuid() == 0, "it needs root")
        cls.mayfly = alone.Mayfly("damage")
        cls.addClassCleanup(cls.mayfly.close)
        cls.mayfly.config_with(allow_reveal=True)
        cls.mayfly.start()
        for name, value in SECRETS.items():
            cls.mayfly.put(name, "older")
            cls.mayfly.cli("put", name, "--exact", "--stage", value=value)
        with cls.mayfly.plugin() as plugin:
            plugin.post("VolumeDriver.Create", {"Name": "kept", "Opts": {"grant": "web"}})
        cls.mayfly.stop()
        cls.good = cls.mayfly.root / "good"
        subprocess.run(["cp", "-a", cls.mayfly.state(), cls.good], check=True)
        cls.size = (cls.good / "store.db").stat().st_size

    def setUp(self):
        self.addCleanup(self.mayfly.stop)
        self.store = self.mayfly.state("store.db")

    def restore(self):
        shutil.rmtree(self.mayfly.state())
        subprocess.run(["cp", "-a", self.good, self.mayfly.state()], check=True)

    def look(self, damage):
        """What each name gives after DAMAGE: its value, or None when it was refused. Nothing else, and no crash."""
        self.restore()
        damage()
        before = self.store.read_bytes() if self.store.is_file() else None
        self.mayfly.start(init=False)
        broker = self.mayfly.child("mayfly-broker")
        state = self.mayfly.status()["state"]
        found = {}
        for name, value in SECRETS.items():
            result = self.mayfly.cli("reveal", name)
            if result.returncode == 0:
                self.assertEqual(result.stdout, value, f"{name} gives what was never stored")
            else:
                self.assertTrue(result.stderr.startswith(b"mayfly: reveal"), result.stderr)
            found[name] = result.stdout if result.returncode == 0 else None
        self.mayfly.cli("doctor")
        with self.mayfly.plugin() as plugin:
            self.assertEqual(
                plugin.post("VolumeDriver.Get", {"Name": "kept"}).status, 200, "definitions do not need the store"
            )
        self.assertEqual(self.mayfly.child("mayfly-broker"), broker, self.mayfly.log_text()[-2000:])
        self.mayfly.stop()
        if state == "damaged" and before is not None:
            self.assertEqual(self.store.read_bytes(), before, "what is damaged is left as it is, for who can mend it")
        return state, found

    def change(self, offset, mask=1):
        with open(self.store, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ mask]))

    def sql(self, *statements):
        database = sqlite3.connect(self.store)
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()

    def test_nothing_damaged_gives_everything(self):
        state, found = self.look(lambda: None)
        self.assertEqual((state, found), ("unlocked", SECRETS))

    def test_a_file_that_was_cut_off_anywhere_is_never_read_wrongly(self):
        states = collections.Counter()
        for length in (
            0,
            1,
            15,
            16,
            99,
            100,
            512,
            4095,
            4096,
            self.size // 3,
            self.size // 2,
            self.size - 4096,
            self.size - 1,
        ):
            with self.subTest(length):
                state, _ = self.look(lambda n=length: os.truncate(self.store, n))
                states[state] += 1
        self.assertEqual(states["uninitialised"], 0, "a store that is there is never made anew")
        self.assertGreater(states["damaged"], 8)

    def test_a_bit_that_was_flipped_anywhere_is_never_read_wrongly(self):
        chance = random.Random(4711)
        refused = 0
        for offset in [0, 16, 18, 24, 28, 60, 68, 100, *(chance.randrange(self.size) for _ in range(24))]:
            with self.subTest(offset):
                _, found = self.look(lambda o=offset: self.change(o, 1 << chance.randrange(8)))
                refused += None in found.values()
        self.assertGreater(refused, 3)

    def test_a_name_that_does_not_open_is_listed_as_damaged(self):
        self.restore()
        database = sqlite3.connect(self.store)
        table = next(
            row[0]
            for row in database.execute("select name from sqlite_master where type = 'table' and name like 'head%'")
        )
        column = [row[1] for row in database.execute(f"pragma table_info({table})") if row[2] == "BLOB"][-1]
        database.execute(
            f"update {table} set {column} = zeroblob(length({column})) where rowid = (select min(rowid) from {table})"
        )
        database.commit()
        database.close()
        self.mayfly.start(init=False)
        listed = self.mayfly.cli("list", "prod").stdout.decode()
        self.assertRegex(listed, r"\?damaged-\d+ +- +- +damaged; see `mayfly doctor`")
        self.assertNotIn("1970", listed)
        self.assertEqual(len(listed.splitlines()), len(SECRETS) + 1)

    def test_a_damaged_record_costs_that_record_only_and_is_named(self):
        data = (self.good / "store.db").read_bytes()
        # The largest record's pages are its own: a bit in the middle of the last page but one.
        offset = next(o for o in range(self.size - 4096, 4096, -4096) if len(set(data[o + 64 : o + 4000])) > 200)
        _, found = self.look(lambda: self.change(offset + 2000))
        lost = [name for name, value in found.items() if value is None]
        self.assertEqual(len(lost), 1)
        self.restore()
        self.change(offset + 2000)
        self.mayfly.start(init=False)
        doctor = self.mayfly.cli("doctor")
        self.assertEqual(doctor.returncode, 1)
        self.assertIn(b"failed", doctor.stdout)
        for name in lost:
            self.assertIn(name.encode(), self.mayfly.cli("reveal", name).stderr)
            # Storing it again heals it.
            self.assertEqual(self.mayfly.cli("put", name, "--exact", "--stage", value=b"healed").returncode, 0)
            self.assertEqual(self.mayfly.cli("reveal", name).stdout, b"healed")

    def test_records_that_were_exchanged_do_not_open(self):
        with sqlite3.connect(self.good / "store.db") as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
            blobs = {
                table: [row[1] for row in database.execute(f"pragma table_info({table})") if row[2] == "BLOB"]
                for table in tables
            }
        self.assertTrue(any(blobs.values()))
        for table, columns in blobs.items():
            for column in columns:
                with self.subTest(f"{table}.{column}"):

                    def exchange(t=table, c=column):
                        database = sqlite3.connect(self.store)
                        rows = database.execute(f"select rowid, {c} from {t} where {c} is not null limit 2").fetchall()
                        if len(rows) == 2 and rows[0][1] != rows[1][1]:
                            database.execute(f"update or replace {t} set {c} = x'00' where rowid = ?", (rows[0][0],))
                            database.execute(
                                f"update or replace {t} set {c} = ? where rowid = ?", (rows[0][1], rows[1][0])
                            )
                            database.execute(
                                f"update or replace {t} set {c} = ? where rowid = ?", (rows[1][1], rows[0][0])
                            )
                        database.commit()
                        database.close()

                    self.look(exchange)

    def test_an_older_row_that_was_put_back_is_noticed(self):
        """The current version's row removed: the one before must not quietly take its place."""
        with sqlite3.connect(self.good / "store.db") as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            with self.subTest(table):
                self.look(lambda t=table: self.sql(f"delete from {t} where rowid = (select max(rowid) from {t})"))

    def test_a_store_of_a_newer_version_is_refused_with_both_numbers(self):
        state, found = self.look(lambda: self.sql("pragma user_version = 2"))
        self.assertEqual((state, set(found.values())), ("damaged", {None}))
        self.restore()
        self.sql("pragma user_version = 2")
        self.mayfly.start(init=False)
        self.assertIn(
            b"has version 2, this Mayfly knows version 1 only", self.mayfly.cli("put", "prod/new", value=b"v").stderr
        )
        self.assertIn("has version 2, this Mayfly knows version 1 only", self.mayfly.status()["detail"])

    def test_something_else_in_its_place_is_refused(self):
        def text():
            self.store.write_text("no store of anything " * 500)

        def directory():
            self.store.unlink()
            self.store.mkdir()

        def link():
            self.store.rename(self.store.with_suffix(".elsewhere"))
            self.store.symlink_to(self.store.with_suffix(".elsewhere"))

        def other_database():
            self.store.unlink()
            self.sql("create table t (x)")
            os.chown(self.store, harness.USER, harness.USER)

        for damage in (text, directory, link, other_database):
            with self.subTest(damage.__name__):
                state, found = self.look(damage)
                self.assertEqual((state, set(found.values())), ("damaged", {None}))
                self.restore()
                damage()
                self.mayfly.start(init=False)
                self.assertEqual(
                    self.mayfly.cli("init", "--environment", "prod", "--recovery-key-to", "/nonexistent").returncode, 1
                )
                self.mayfly.stop()

    def test_rubbish_in_the_write_ahead_log_is_not_taken_for_records(self):
        wal = self.mayfly.state("store.db-wal")

        def rubbish():
            wal.write_bytes(os.urandom(32) + b"\0" * 4096 + os.urandom(5000))
            os.chown(wal, harness.USER, harness.USER)

        state, found = self.look(rubbish)
        self.assertEqual((state, found), ("unlocked", SECRETS))

    def test_a_missing_store_is_not_made_anew_by_itself(self):
        state, found = self.look(self.store_missing)
        self.assertEqual((state, set(found.values())), ("uninitialised", {None}))
        self.assertFalse(self.store.exists())

    def store_missing(self):
        self.store.unlink()

    def start_badly(self, damage, *words):
        self.restore()
        damage()
        code, said = self.mayfly.start_badly()
        self.assertEqual(code, 1)
        for word in words:
            self.assertIn(word, said)

    def test_a_damaged_state_file_ends_the_start_with_what_to_do(self):
        """An engine that is told "no such volume" forgets it: better not to answer at all."""
        state = self.mayfly.state("state.db")
        for damage in (
            lambda: os.truncate(state, 100),
            lambda: state.write_bytes(b"x" * 5000),
            lambda: os.truncate(state, 0),
        ):
            self.start_badly(damage, str(state), "Move it away and start again", "docker volume create")
        # What it says works.
        state.rename(state.with_suffix(".away"))
        self.mayfly.start(init=False)
        self.assertEqual(self.mayfly.cli("reveal", "prod/s1").stdout, SECRETS["prod/s1"])

    def test_an_audit_file_that_was_changed_ends_the_start_and_says_where(self):
        audit = self.mayfly.state("audit/audit.jsonl")

        def edit():
            audit.write_bytes(audit.read_bytes().replace(b'"uid":0', b'"uid":7', 1))

        def exchange():
            lines = audit.read_bytes().splitlines(True)
            lines[2], lines[3] = lines[3], lines[2]
            audit.write_bytes(b"".join(lines))

        def take_out():
            lines = audit.read_bytes().splitlines(True)
            audit.write_bytes(b"".join(lines[:2] + lines[3:]))

        for damage in (edit, exchange, take_out):
            with self.subTest(damage.__name__):
                self.start_badly(
                    damage, "audit.jsonl", "Put back what is missing, or move the directory 'audit' to a safe place"
                )

    def test_audit_files_that_were_taken_away_are_noticed(self):
        self.restore()
        shutil.rmtree(self.mayfly.state("audit"))
        self.mayfly.start(init=False)
        alone.wait_for(
            lambda: any("audit files are not those" in p for p in self.mayfly.status()["problems"]),
            "a problem is shown",
        )
        self.assertEqual(self.mayfly.cli("audit", "verify").returncode, 1)

    def test_files_that_are_not_ours_in_the_directory_do_no_harm(self):
        def clutter():
            pathlib.Path(self.mayfly.state("store.db.bak")).write_bytes(b"x")
            self.mayfly.state("lost+found").mkdir()
            self.mayfly.state("audit/notes.txt").write_text("n")
            self.mayfly.state("audit/audit-00000000000000000000.jsonl.gz").write_bytes(b"x")

        state, found = self.look(clutter)
        self.assertEqual((state, found), ("unlocked", SECRETS))
