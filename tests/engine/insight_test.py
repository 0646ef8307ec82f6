"""What an operator can find out about real containers: explain, audit, policy check, forbid, unlock."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time

import harness

WIDTH = 80


class Insight(harness.EngineCase):
    plugin = f"mayfly-hu-insight-{os.getpid()}"
    secrets = f"insight-{os.getpid()}"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db", "a value")
        cls.mayfly.put("common/motd", "another")

    def setUp(self):
        super().setUp()
        self.volume(self.secrets)
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "db", "motd"))

    def run_container(self, name, *arguments, check=True):
        return self.engine.docker(
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            name,
            "-v",
            f"{self.secrets}:/run/secrets",
            *arguments,
            harness.IMAGE,
            "sh",
            "-c",
            "cat /run/secrets/* > /dev/null; sleep 600",
            check=check,
        )

    def start(self, name, *arguments):
        container = self.run_container(name, *arguments).stdout.strip()
        harness.wait_for(
            lambda: any(d["container"] == name and d["state"] == "released" for d in self.mayfly.deliveries()),
            f"the files of {name} are released",
        )
        return container

    def words(self, *arguments, code=0):
        """What a person sees, in lines of 80 columns."""
        result = self.mayfly.mayfly(*arguments, check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        for line in result.stdout.splitlines():
            self.assertLessEqual(len(line), WIDTH, line)
        return result.stdout + result.stderr

    def joined(self, *arguments, **options):
        """The same without the line breaks."""
        return " ".join(self.words(*arguments, **options).split())

    def test_explain_tells_each_step_of_a_grant(self):
        container = self.start("web1")
        text = self.joined("explain", "web1")
        for word in ("web1: granted", container[:12], self.secrets, "ok match", "ok release", "grant web"):
            self.assertIn(word, text)
        for name in (container, container[:12]):
            self.assertEqual(self.mayfly.explain(name)["container_id"], container)
        decision = self.mayfly.explain("web1")
        self.assertEqual((decision["outcome"], decision["container"]), ("granted", "web1"))
        self.assertTrue(all(step["evidence"] for step in decision["steps"]))

    def test_explain_tells_the_newest_refusal_also_of_a_container_that_is_gone(self):
        refused = self.run_container("other", check=False)
        self.assertNotEqual(refused.returncode, 0)
        said = "no grant matches other"
        self.assertIn(f"mayfly: {said}", refused.stderr)
        self.engine.docker("rm", "-f", "other")
        for arguments in (("explain",), ("explain", "other")):
            text = self.joined(*arguments)
            self.assertIn("other: refused", text)
            self.assertIn(said, text)
        text = self.joined("explain", "never-seen", code=1)
        self.assertIn("no decision about such a container is known", text)

    def test_audit_names_the_container_what_it_got_and_by_which_grant(self):
        container = self.start("web1")
        text = self.joined("audit", "--container", "web1", "--action", "release")
        self.assertIn(
            f"granted web1 ({container[:12]}): release {self.secrets}: prod/db version 1, "
            "common/motd version 1, by grant web",
            text,
        )
        for name in ("prod/db", "common/motd"):
            actions = {r["action"] for r in self.mayfly.audit("--secret", name) if r.get("container_id") == container}
            self.assertIn("release", actions)
        record = self.mayfly.audit("--container", container[:20], "--action", "release")[-1]
        self.assertEqual((record["engine"], record["volume"], record["grants"]), (self.plugin, self.secrets, ["web"]))
        self.engine.docker("rm", "-f", "web1")
        harness.wait_for(lambda: self.mayfly.audit("--container", container, "--action", "end"), "the end is recorded")
        self.assertIn(f"done web1 ({container[:12]}): end", self.joined("audit", "--container", "web1"))
        self.run_container("other", check=False)
        self.assertIn("refused other (", self.joined("audit", "--refused", "--container", "other"))
        self.assertIn("no grant matches other", self.joined("audit", "--refused", "--container", "other"))
        self.words("audit")

    def test_a_policy_is_checked_against_what_runs_before_it_is_used(self):
        self.start("web1")
        file = self.mayfly.root / "other.json"
        self.assertIn("no running container would get other files", self.joined("policy", "check", "--against-running"))
        file.write_text(json.dumps({"grants": [harness.grant("web", {"container.name": "web*"}, "db")]}))
        text = self.joined("policy", "check", "--against-running", str(file))
        self.assertIn("web1 (", text)
        change = json.loads(self.mayfly.mayfly("policy", "check", "--against-running", file, "--json").stdout)[
            "changes"
        ]
        self.assertEqual([c["container"] for c in change], ["web1"])
        file.write_text(json.dumps({"grants": [harness.grant("web", {"container.name": "nothing"}, "db")]}))
        self.assertIn("web1 (", self.joined("policy", "check", "--against-running", str(file)))
        # Nothing of that was put into force.
        self.assertIn("motd", self.joined("policy", "show", "web"))
        self.assertEqual(self.mayfly.status()["released"], 1)

    def test_forbid_names_the_containers_that_keep_their_files(self):
        self.start("web1")
        text = self.joined("forbid", "web", "--yes")
        self.assertIn("web1", text)
        self.assertEqual(self.mayfly.status()["released"], 1)
        refused = self.run_container("web2", check=False)
        self.assertIn("mayfly: no grant matches web2", refused.stderr)

    def test_a_missing_secret_is_named_with_what_to_do(self):
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "db", "cache-password"))
        refused = self.run_container("web1", check=False)
        self.assertIn(
            "mayfly: grant web: prod/cache-password does not exist; run `mayfly put prod/cache-password`",
            refused.stderr,
        )
        self.assertIn("cache-password", self.joined("diff", "dev", "prod"))
        self.mayfly.put("dev/cache-password", "dev value")
        refused = self.run_container("web2", check=False)
        self.assertIn("prod/cache-password does not exist (dev/cache-password does)", refused.stderr)
        self.assertIn("generated", self.joined("set", "fill", "prod") + " generated")
        self.engine.docker("rm", "-f", "web1", check=False)
        self.start("web1")

    def test_unlock_ends_with_one_line_that_starts_what_was_refused(self):
        self.mayfly.mayfly("lock")
        for name in ("web1", "web2"):
            refused = self.run_container(name, check=False)
            self.assertRegex(
                refused.stderr, rf"mayfly: locked since \d\d:\d\d; run `mayfly unlock`, then `docker start {name}`"
            )
        self.assertEqual(sorted(self.mayfly.status()["refused_while_locked"]), ["web1", "web2"])
        text = self.words("unlock")
        line = next(line.strip() for line in text.splitlines() if "docker start" in line)
        self.assertEqual(sorted(line.split()[2:]), ["web1", "web2"])
        self.engine.docker("start", *line.split()[2:])
        harness.wait_for(lambda: self.mayfly.status()["released"] == 2, "both have their files")
        self.assertEqual(self.mayfly.status()["refused_while_locked"], [])

    def test_status_and_doctor_tell_of_engine_and_deliveries(self):
        self.start("web1")
        self.assertIn("0 armed, 1 released", self.joined("status"))
        self.assertIn(f"{self.plugin}: connected", self.joined("status"))
        self.assertIn("MAYFLY OK - unlocked", self.mayfly.mayfly("status", "--check").stdout)
        self.assertIn("cgroup version 1", self.joined("doctor"))

    def watch(self, *arguments, **options):
        watch = subprocess.Popen(
            [self.mayfly.build / "client/cli/mayfly", "status", "--watch", *arguments],
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root), NO_COLOR="1"),
            **options,
        )
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        return watch

    def test_a_watch_in_json_tells_each_change_once(self):
        self.mayfly.put("prod/watched", "a value")
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "watched"))
        said = self.mayfly.root / "events"
        with said.open("w") as file:
            self.watch("--json", stdout=file)
        events = lambda: [json.loads(line) for line in said.read_text().splitlines()]
        names = lambda: [event["event"] for event in events()]
        harness.wait_for(lambda: names() == ["status"], "the first look is told")
        self.start("web1")
        released = lambda e: e["event"] == "lease" and (e["object"]["container"], e["object"]["state"]) == ("web1", "released")
        harness.wait_for(lambda: any(released(e) for e in events()), "the release is told")
        told = len(events())
        time.sleep(3)
        self.assertEqual(len(events()), told, "ages are no change")
        self.mayfly.mayfly("rotate", "prod/watched", input="another value")
        harness.wait_for(
            lambda: any(f["version"] == 2 for e in events() if e["event"] == "lease" for f in e["object"]["files"]),
            "the new version is told",
        )
        self.engine.docker("rm", "-f", "web1")
        harness.wait_for(lambda: names()[-1] == "lease_ended", "the end is told")
        self.mayfly.stop()
        harness.wait_for(lambda: names()[-1] == "unreachable", "that nobody answers is told")
        self.mayfly.start()
        harness.wait_for(lambda: "status" in names()[-3:], "that somebody answers again is told")

    def test_a_watch_redraws_in_place_within_80_columns(self):
        self.start("web-" + "x" * 30)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, WIDTH, 0, 0))
        self.watch(stdout=slave)
        os.close(slave)
        text = ""
        while text.count("\033[H") < 3:
            text += os.read(master, 65536).decode()
        pages = text.split("\033[H")[1:3]
        for page in pages:
            self.assertIn("1 released", page)
            self.assertIn("prod/db", page)
            lines = [re.sub("\033\\[[0-9;]*[A-Za-z]", "", line) for line in page.splitlines()]
            self.assertLessEqual(max(map(len, lines)), WIDTH, page)
            self.assertLess(len(lines), 12, page)
