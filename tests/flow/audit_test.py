"""The audit file: who did what, found again by every filter, followed live, and every kind of tampering noticed."""

import datetime
import json
import os
import signal
import subprocess
import time

import alone
import harness

LOGIN = 4242


class Audit(alone.AloneCase):
    tag = "audit"

    def setUp(self):
        super().setUp()
        self.file = self.mayfly.state("audit/audit.jsonl")

    def records(self, *arguments):
        return self.mayfly.audit(*arguments)

    def test_each_record_tells_who_what_on_what_and_how_it_ended(self):
        self.done("put", "prod/told", value=b"a")
        self.mayfly.cli("put", "prod/told", value=b"b")
        last = self.records("--last", "3")
        self.assertEqual(
            [(r["action"], r["decision"], r["set"], r["name"]) for r in last],
            [
                ("put", "granted", "prod", "told"),
                ("put", "granted", "prod", "told"),
                ("put", "refused", "prod", "told"),
            ],
        )
        self.assertEqual(last[2]["reason"], "prod/told has another value already")
        self.assertEqual(last[1]["actor"], last[2]["actor"])
        for record in last:
            self.assertEqual((record["actor"]["kind"], record["actor"]["uid"]), ("operator", 0))
            self.assertTrue(os.path.exists("/proc") and record["actor"]["pid"] > 1)
        lines = self.done("audit", "--last", "2").splitlines()
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  granted  root: put prod/told$")
        self.assertRegex(lines[1], r"  refused  root: put prod/told$")
        self.assertEqual(lines[2].strip(), "prod/told has another value already")

    def test_the_login_user_is_named_behind_sudo(self):
        """sudo changes the uid and not the kernel's login uid; root without a login has none."""
        script = f'echo {LOGIN} > /proc/self/loginuid && exec "$0" "$@"'
        result = subprocess.run(
            ["sh", "-c", script, self.mayfly.build / "client/cli/mayfly", "put", "prod/login"],
            input=b"v",
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root)),
            capture_output=True,
            check=False,
        )
        harness.need(b"loginuid" not in result.stderr, "this kernel keeps no login uid")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.records("--last", "1")[0]["actor"]["login_uid"], LOGIN)
        self.assertIn(f"granted  uid {LOGIN} as root: put prod/login", self.done("audit", "--last", "1"))

    def test_filters_find_what_they_name_and_nothing_else(self):
        for name in ("filter-a", "filter-b"):
            self.done("put", f"prod/{name}", value=b"v")
            self.done("verify", f"prod/{name}", value=b"v")
        self.mayfly.cli("put", "prod/filter-a", value=b"w")
        about_a = self.records("--secret", "prod/filter-a")
        self.assertEqual([r["action"] for r in about_a], ["put", "verify", "put", "put"])
        self.assertEqual(
            [r["name"] for r in self.records("--secret", "prod/filter-a", "--action", "verify")], ["filter-a"]
        )
        self.assertEqual([r["decision"] for r in self.records("--secret", "prod/filter-a", "--refused")], ["refused"])
        self.assertEqual(len(self.records("--last", "2")), 2)
        self.assertEqual(self.records("--secret", "prod/filter"), [])
        self.assertEqual(self.records("--action", "nothing"), [])
        middle = about_a[1]["time"]
        self.assertEqual(
            [r["action"] for r in self.records("--secret", "prod/filter-a", "--since", middle)],
            ["verify", "put", "put"],
        )
        self.assertEqual([r["action"] for r in self.records("--secret", "prod/filter-a", "--until", middle)], ["put"])
        # What is printed can be given to --since.
        printed = self.done("audit", "--secret", "prod/filter-a").split()[0]
        self.assertGreaterEqual(len(self.records("--secret", "prod/filter-a", "--since", printed)), 4)

    def test_a_time_or_number_that_is_none_is_refused(self):
        for words in (["--since", "yesterday"], ["--until", "2025-13-01"], ["--last", "x"], ["--last", "-1"]):
            with self.subTest(words):
                result = self.mayfly.cli("audit", *words)
                self.assertEqual(result.returncode, 2)
                self.assertTrue(result.stderr)
        self.assertEqual(self.done("audit", "--since", "2099-01-01"), "")
        self.assertTrue(self.done("audit", "--since", "1h"))

    def follow(self, *words):
        return subprocess.Popen(
            [self.mayfly.build / "client/cli/mayfly", "audit", "--follow", "--last", "1", *words],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root), NO_COLOR="1"),
        )

    def test_follow_shows_what_comes_until_it_is_interrupted(self):
        self.done("put", "prod/before-it", value=b"v")
        follower, as_json = self.follow(), self.follow("--json")
        try:
            for process in (follower, as_json):
                process.stdout.readline()  # the newest there was
            begun = time.monotonic()
            self.done("put", "prod/followed", value=b"v")
            line = follower.stdout.readline()
            self.assertIn("granted  root: put prod/followed", line)
            self.assertLess(time.monotonic() - begun, 5)
            record = json.loads(as_json.stdout.readline())
            self.assertEqual((record["action"], record["name"], len(record["mac"])), ("put", "followed", 64))
            # A restart of the broker ends it with a word, not with silence.
            follower.send_signal(signal.SIGINT)
            self.assertIn(follower.wait(10), (-signal.SIGINT, 130))
            self.mayfly.kill("mayfly-broker")
            self.assertEqual(as_json.wait(20), 3)
            self.assertIn("the broker ended the connection", as_json.stderr.read())
            alone.wait_for(lambda: self.mayfly.child("mayfly-broker") not in (None, self.broker), "another broker")
            self.mayfly.wait_ready(engines=False)
            self.broker = self.mayfly.child("mayfly-broker")
        finally:
            for process in (follower, as_json):
                process.kill()
                process.communicate()

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        command = f"exec {self.mayfly.build}/client/cli/mayfly audit --last 0 | head -1"
        result = subprocess.run(
            ["sh", "-c", command],
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root)),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        self.assertEqual(len(result.stdout.splitlines()), 1)

    def test_names_that_would_steer_a_terminal_or_forge_a_line_do_not(self):
        evil = "prod/x\n2025-01-01T00:00:00Z  granted  root: lock\x1b[31m"
        with self.mayfly.operator() as operator:
            operator.call("Remove", name=evil)
            operator.call("Unlock", passphrase_fd=evil)
        with self.mayfly.plugin() as plugin:
            plugin.post("VolumeDriver.Create", {"Name": evil})
        for line in self.file.read_bytes().splitlines():
            json.loads(line)
            self.assertTrue(line.isascii() and line.decode().isprintable())
        out = self.done("audit")
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\n2025-01-01T00:00:00Z", out)

    # Tampering, under the running broker.

    def tamper(self, change):
        """Changes the file in place, as somebody with the disk could; puts it back afterwards."""
        before = self.file.read_bytes()
        self.addCleanup(self.put_back, before)
        with open(self.file, "r+b") as file:
            changed = change(before)
            file.write(changed)
            file.truncate(len(changed))
        return before

    def put_back(self, content):
        with open(self.file, "r+b") as file:
            file.write(content)
            file.truncate(len(content))
        self.assertIn("proved", self.done("audit", "verify"))
        self.done("put", "prod/after-tampering", "--stage", value=os.urandom(8).hex().encode())
        self.assertIn("proved", self.done("audit", "verify"))

    def verify_says(self, *words):
        return self.says(self.mayfly.cli("audit", "verify"), 1, "audit verify", *words)

    def make_records(self):
        for i in range(5):
            self.done("put", f"prod/tampering-{i}", "--stage", value=os.urandom(8).hex().encode())

    def test_an_edited_record_is_found(self):
        self.make_records()
        self.tamper(lambda data: data.replace(b'"name":"tampering-2"', b'"name":"tampering-9"', 1))
        self.assertRegex(self.verify_says(), r"audit.jsonl, line \d+: its mac does not fit")

    def test_a_record_that_was_taken_out_is_found(self):
        self.make_records()
        self.tamper(lambda data: b"".join(line for line in data.splitlines(True) if b"tampering-2" not in line))
        self.verify_says()

    def test_records_that_were_exchanged_are_found(self):
        self.make_records()

        def exchange(data):
            lines = data.splitlines(True)
            lines[-2], lines[-3] = lines[-3], lines[-2]
            return b"".join(lines)

        self.tamper(exchange)
        self.verify_says()

    def test_a_record_that_was_put_in_is_found(self):
        self.make_records()
        self.tamper(
            lambda data: b"".join([*data.splitlines(True)[:-2], data.splitlines(True)[0], *data.splitlines(True)[-2:]])
        )
        self.verify_says()

    def test_a_tail_that_was_cut_off_is_found_and_nothing_more_is_done_until_it_is_back(self):
        self.make_records()
        self.tamper(lambda data: b"".join(data.splitlines(True)[:-2]))
        self.verify_says()
        self.says(
            self.mayfly.cli("put", "prod/unrecorded", value=b"v"),
            1,
            "the audit record could not be written",
            "nothing was done",
        )
        self.assertIsNone(self.value_of("prod/unrecorded"))

    def test_lines_that_were_added_are_found(self):
        self.make_records()
        self.tamper(lambda data: data + data.splitlines(True)[-1])
        self.verify_says()

    def test_a_line_that_is_no_record_is_found(self):
        self.make_records()
        self.tamper(lambda data: data.replace(b'{"seq":3,', b'{"seq": 3,', 1))
        self.verify_says()

    def test_another_file_in_its_place_is_found(self):
        self.make_records()
        away = self.file.with_suffix(".away")
        self.file.rename(away)
        self.file.write_bytes(away.read_bytes())
        os.chown(self.file, harness.USER, harness.USER)
        self.addCleanup(lambda: self.assertIn("proved", self.done("audit", "verify")))
        self.addCleanup(away.rename, self.file)
        self.says(self.mayfly.cli("put", "prod/elsewhere", value=b"v"), 1, "nothing was done")

    def test_a_clock_that_was_set_back_breaks_nothing(self):
        """Times may go back, numbers may not: records say both."""
        seqs = [r["seq"] for r in self.records("--last", "0")]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        times = [datetime.datetime.fromisoformat(r["time"].replace("Z", "+00:00")) for r in self.records("--last", "5")]
        self.assertEqual(times, sorted(times))
