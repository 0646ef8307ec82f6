"""How long a container has its files: renewal, the hard end, revocation, what a restart of ours does to it."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import harness
from harness import BUILD, IMAGE, Mayfly, grant, wait_for

CALL = BUILD / "tests/engine/varlink_call"
SECRETS = "/run/secrets"


def boot_ms():
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


class LeaseCase(harness.EngineCase):
    plugin = harness.plugin_name("ls")
    volume_name = f"leased-{os.getpid()}"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine.import_image(extra=lambda root: shutil.copy(CALL, root / "bin/call"))
        for name in ("a", "b", "c"):
            cls.mayfly.put(f"prod/{name}", f"value of {name}")

    def setUp(self):
        super().setUp()
        self.volume(self.volume_name)

    def policy(self, *grants, **lease):
        """Grants of {name: secrets}, or one grant `web` of the secrets, with LEASE."""
        if "match" not in grants[0]:
            grants = [grant("web", {"container.name": "web*"}, *grants, lease=lease)]
        self.mayfly.policy(*grants)

    def start(self, name="web1", command="exec sleep 600", options=()):
        self.engine.container("--name", name, "-v", f"{self.volume_name}:{SECRETS}", *options, IMAGE, "sh", "-c",
                              f"cat {SECRETS}/* > /dev/null; {command}")
        wait_for(lambda: any(x["container"] == name and x["state"] == "released" for x in self.leases()), "released")
        return name

    def leases(self, *arguments):
        return json.loads(self.mayfly.mayfly("leases", "--json", *arguments).stdout)["leases"]

    def lease(self, name="web1"):
        return [x for x in self.leases() if x["container"] == name][0]

    def root(self, name="web1"):
        """The container's files, seen from here."""
        return pathlib.Path(f"/proc/{self.engine.inspect(name, '.State.Pid')}/root{SECRETS}")

    def row(self, name="web1"):
        """What is written down of its lease."""
        return wait_for(lambda: self.rows(name), f"a row of {name}")[0]

    def rows(self, name):
        """From a copy: the broker has the file to itself. One that was taken in the middle of a write is not used."""
        with tempfile.TemporaryDirectory(prefix="mayfly-leases-") as directory:
            for file in ("state.db", "state.db-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(self.mayfly.root / "var/lib/mayfly" / file, directory)
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"{directory}/state.db")) as database:
                rows = [json.loads(text) for (text,) in database.execute("SELECT record FROM delivery")]
                return [row for row in rows if row["container"] == name and row["term"]["began_ms"]]
        return []

    def gone_at(self, path, timeout):
        """When PATH was not there any more, on the leases' clock."""
        deadline = time.monotonic() + timeout
        while os.path.lexists(path):
            self.assertLess(time.monotonic(), deadline, f"{path} is there still")
            time.sleep(0.001)
        return boot_ms()

    def records(self, action, name="web1"):
        container = self.engine.inspect(name, ".Id")
        return [r for r in self.mayfly.audit() if r["action"] == action and r.get("container_id") == container]

    def record(self, action, name="web1"):
        """The last one; that something has ended is recorded after it is empty."""
        return wait_for(lambda: self.records(action, name), f"a record of {action}")[-1]


class Renewal(LeaseCase):
    def test_it_is_renewed_while_the_policy_allows_it(self):
        self.policy("a", ttl="1s")
        self.start()
        root, first = self.root(), self.row()["term"]
        wait_for(lambda: self.row()["term"]["period_end_ms"] > first["period_end_ms"] + 2500, "three renewals")
        self.assertEqual((root / "a").read_text(), "value of a")
        self.assertEqual(self.row()["term"]["began_ms"], first["began_ms"])
        self.assertEqual(self.records("renew"), [], "what changes nothing is not recorded")

    def test_a_forbidden_grant_ends_at_its_renewal_and_forbid_says_when(self):
        self.policy("a", ttl="3s")
        self.start()
        root, term = self.root(), self.row()["term"]
        said = self.mayfly.mayfly("forbid", "web", "--yes").stdout
        self.assertRegex(said, r"web1 \([0-9a-f]{12}\): within [0-3] s")
        self.assertIn("mayfly revoke --grant web", said)
        self.assertEqual((root / "a").read_text(), "value of a", "it is emptied at the renewal, not before")
        end = self.gone_at(root / "a", 10)
        self.assertGreaterEqual(end, term["renew_ms"])
        self.assertLess(end, self.row_end(term) + 100)
        self.assertEqual(os.listdir(root), [])
        record = self.record("renew")
        self.assertEqual(record["decision"], "refused")
        self.assertIn("no grant matches web1", record["reason"])
        self.assertIn("not renewed: no grant matches web1", self.record("end")["reason"])
        self.assertEqual(self.engine.inspect("web1", ".State.Running"), "true")
        self.assertEqual(self.leases(), [])

    @staticmethod
    def row_end(term):
        """The end of the period that was under way, or of the next one."""
        now = boot_ms()
        end = term["period_end_ms"]
        while end < now:
            end += term["ttl_s"] * 1000
        return end

    def test_a_reload_without_the_grant_does_the_same(self):
        self.policy("a", ttl="1s")
        self.start()
        root = self.root()
        self.policy(grant("other", {"container.name": "other"}, "a"))
        self.gone_at(root / "a", 5)

    def test_of_a_forbidden_secret_only_its_files_go(self):
        self.policy("a", "b", {"template": "x{{b}}y", "as": "t/u"}, ttl="1s")
        self.start()
        root = self.root()
        held = self.hold(root / "b")
        self.policy("a", ttl="1s")
        self.gone_at(root / "b", 5)
        self.gone_at(root / "t/u", 5)
        self.assertEqual((root / "a").read_text(), "value of a")
        self.assertEqual(os.pread(held, 99, 0), b"")
        self.assertEqual({f["path"] for f in self.lease()["files"]}, {"a"})
        wait_for(lambda: sorted(s["path"] for r in self.records("take") for s in r["secrets"]) == ["b", "t/u"], "both are recorded")
        time.sleep(1.5)
        self.assertEqual((root / "a").read_text(), "value of a", "the others are renewed")

    def hold(self, path):
        held = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, held)
        return held

    def test_it_is_kept_while_nobody_answers_unless_it_is_to_be_emptied(self):
        self.policy(grant("web", {"container.name": "web1"}, "a", lease={"ttl": "1s"}),
                    grant("empty", {"container.name": "web2"}, "a", lease={"ttl": "1s", "unrenewed": "empty"}))
        self.start()
        self.start("web2")
        kept, emptied = self.root(), self.root("web2")
        # It stands still, until the supervisor ends it after 2 s.
        self.mayfly.kill("mayfly-engine", signal.SIGSTOP)
        self.gone_at(emptied / "a", 2)
        self.assertEqual((kept / "a").read_text(), "value of a")
        wait_for(lambda: self.row()["term"]["period_end_ms"] > boot_ms(), "it is renewed again")
        self.assertEqual((kept / "a").read_text(), "value of a")


class HardEnd(LeaseCase):
    def test_it_is_emptied_within_100_ms_of_its_hard_end(self):
        self.policy("a", "b", max_ttl="3s")
        self.start()
        root, began = self.root(), self.row()["term"]["began_ms"]
        late = self.gone_at(root / "a", 10) - (began + 3000)
        print(f"# emptied {late:.1f} ms after the hard end")
        self.assertGreaterEqual(late, 0)
        self.assertLessEqual(late, 100)
        self.assertEqual(os.listdir(root), [])
        self.assertIn("`max_ttl` is 3 s", self.record("end")["reason"])

    def test_the_shortest_of_several_grants_counts(self):
        self.policy(grant("web", {"container.name": "web*"}, "a", lease={"max_ttl": "1d", "ttl": "8h"}),
                    grant("more", {"container.name": "web*"}, "b", lease={"max_ttl": "90m"}))
        self.start()
        lease = self.lease()
        described = json.loads((self.root() / "..data/.mayfly.json").read_text())["expires"]
        self.assertLess(abs(time.mktime(time.strptime(described, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time() - 5400), 15)
        self.assertIn(lease["expires_in_s"], range(5390, 5401))
        self.assertIn(lease["renewal_in_s"], range(3590, 3601))

    def test_a_container_that_starts_again_begins_anew(self):
        self.policy("a", max_ttl="2s")
        self.start(options=("--stop-timeout", "0"))
        self.gone_at(self.root() / "a", 10)
        self.engine.docker("restart", "-t", "0", "web1")
        wait_for(lambda: self.leases(), "a further lease")
        self.assertEqual((self.root() / "a").read_text(), "value of a")

    def test_whoever_watches_is_told_a_while_before(self):
        directory = self.mayfly.root / "run/mayfly/container"
        self.policy({"name": "a", "mode": "0444"}, max_ttl="20s")
        self.start(options=("-v", f"{directory}:/run/mayfly:ro"))
        watch = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", "web1", "call", "--more", "4", "Watch", "-"],
                                 stdout=subprocess.PIPE, text=True)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.addCleanup(watch.stdout.close)
        events = [(json.loads(watch.stdout.readline())["parameters"], boot_ms()) for _ in range(4)]
        self.assertEqual([event["event"] for event, _ in events], ["present", "synchronised", "expiring", "ended"])
        expires = events[0][0]["delivery"]["expires"]
        self.assertRegex(expires, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertAlmostEqual(events[3][1] - events[2][1], 2000, delta=300)
        ends = time.mktime(time.strptime(expires, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        self.assertLess(abs(ends - time.time()), 2.5)


class Revoked(LeaseCase):
    def setUp(self):
        super().setUp()
        self.policy(grant("web", {"container.name": "web*"}, "a", "b"), grant("more", {"container.name": "web*"}, "c"))
        self.start("web1")
        self.start("web2")
        self.roots = {name: self.root(name) for name in ("web1", "web2")}

    def revoke(self, *arguments, code=0):
        result = self.mayfly.mayfly("revoke", *arguments, "--yes", check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def left(self):
        return {name: sorted(n for n in os.listdir(root) if not n.startswith("..")) for name, root in self.roots.items()}

    def test_of_a_lease_everything_goes(self):
        text = self.revoke(self.lease("web1")["lease"][:12])
        self.assertIn("1 container loses files now", text)
        self.assertIn("The grants remain", text)
        self.assertEqual(self.left(), {"web1": [], "web2": ["a", "b", "c"]})
        self.assertEqual(self.record("end")["reason"], "revoked by an operator")
        by_operator = [r for r in self.mayfly.audit() if r["action"] == "revoke"][-1]
        self.assertEqual((by_operator["decision"], by_operator["actor"]["uid"]), ("granted", 0))

    def test_a_container_that_has_moved_them_away_from_a_new_mounter_loses_them_all_the_same(self):
        # Below a directory that the engine has made: one of the image could not be renamed.
        self.engine.container("--name", "web3", "-v", f"{self.volume_name}:/made/secrets", IMAGE, "sh", "-c", "cat /made/secrets/a; exec sleep 600")
        wait_for(lambda: self.lease("web3")["state"] == "released", "web3 has its files")
        self.engine.docker("exec", "web3", "mv", "/made", "/away")
        self.mayfly.kill("mayfly-mounter")
        wait_for(lambda: self.mayfly.child("mayfly-mounter"), "another mounter is there")
        time.sleep(1)
        self.assertEqual(self.engine.exec("web3", "cat", "/away/secrets/a").stdout, "value of a")
        self.revoke("--container", "web3")
        self.assertEqual(self.engine.docker("exec", "web3", "sh", "-c", "cat /away/secrets/* 2>/dev/null", check=False).stdout, "")

    def test_of_a_container_everything_goes(self):
        self.revoke("--container", "web2")
        self.assertEqual(self.left(), {"web1": ["a", "b", "c"], "web2": []})

    def test_of_a_grant_its_files_go(self):
        self.revoke("--grant", "more")
        self.assertEqual(self.left(), {"web1": ["a", "b"], "web2": ["a", "b"]})
        self.assertEqual(self.lease()["grants"], ["web"])
        self.revoke("--grant", "web", "--container", "web1")
        self.assertEqual(self.left(), {"web1": [], "web2": ["a", "b"]})

    def test_of_a_secret_its_files_go(self):
        self.assertEqual(len(self.leases("prod/b")), 2)
        self.revoke("--secret", "prod/b")
        self.assertEqual(self.left(), {"web1": ["a", "c"], "web2": ["a", "c"]})
        self.assertEqual(self.leases("prod/b"), [])
        self.assertEqual(len(self.leases("prod/a")), 2)
        self.assertIn("no running container has it", self.revoke("--secret", "prod/b", code=1))

    def test_of_all_everything_goes(self):
        self.revoke("--all")
        self.assertEqual(self.left(), {"web1": [], "web2": []})
        self.assertEqual(self.leases(), [])

    def test_it_says_what_it_needs(self):
        for arguments in ((), ("--all", "--container", "web1")):
            self.assertIn("say what is to be emptied", self.revoke(*arguments, code=2))
        result = self.mayfly.mayfly("revoke", "--all", check=False)
        self.assertEqual(result.returncode, 2, "without a terminal and --yes nothing is done")
        for parameters in ({}, {"container": ""}, {"container": 5, "grant": "web"}, {"all": True, "grant": "web"}):
            with self.assertRaisesRegex(AssertionError, "Invalid"):
                self.mayfly.call("Revoke", **parameters)
        self.assertEqual(self.left(), {"web1": ["a", "b", "c"], "web2": ["a", "b", "c"]})

    def test_it_stays_revoked_over_a_restart_and_comes_again_with_the_container(self):
        self.revoke("--container", "web1")
        self.revoke("--secret", "prod/b")
        self.mayfly.kill("mayfly-broker")
        self.mayfly.wait_ready()
        self.assertEqual(self.left(), {"web1": [], "web2": ["a", "c"]})
        self.assertEqual([x["container"] for x in self.leases()], ["web2"])
        for name in ("web1", "web2"):
            self.engine.docker("restart", "-t", "0", name)
            wait_for(lambda: any(x["container"] == name for x in self.leases()), "a further lease")
            self.roots[name] = self.root(name)
        wait_for(lambda: self.left() == {"web1": ["a", "b", "c"], "web2": ["a", "b", "c"]}, "everything is there again")

    HOLD = r"""
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid, path = sys.argv[1:3]
namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
if libc.setns(namespace, 0x20000) != 0: sys.exit("setns")
held = os.open(path, os.O_RDONLY)
mapped = mmap.mmap(held, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
directory = os.open(os.path.dirname(path), os.O_RDONLY)
if libc.unshare(0x20000) != 0: sys.exit("unshare")
print(mapped[:].decode(), flush=True)
sys.stdin.readline()
print(repr(os.pread(held, 99, 0)), os.listdir(directory), os.listdir(os.path.dirname(path)), flush=True)
mapped[:]
print("the mapping can be read", flush=True)
"""

    def test_what_is_held_open_mapped_or_copied_reads_nothing_after_it(self):
        holders = []
        for name in ("web1", "web2"):
            pid = self.engine.inspect(name, ".State.Pid")
            holder = subprocess.Popen([sys.executable, "-c", self.HOLD, pid, f"{SECRETS}/b"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            self.addCleanup(holder.wait)
            self.addCleanup(holder.kill)
            self.addCleanup(holder.stdout.close)
            self.assertEqual(holder.stdout.readline(), "value of b\n")
            holders.append(holder)
        self.revoke("--container", "web1")
        self.revoke("--container", "web2", "--secret", "prod/b")
        for holder, left in zip(holders, ([], ["a", "c"])):
            holder.stdin.write("\n")
            holder.stdin.close()
            said = holder.stdout.readline()
            self.assertTrue(said.startswith("b'' ["), said)
            names = [{n for n in re.findall(r"'([^']*)'", part) if not n.startswith("..")} for part in said[4:].split("] [")]
            self.assertEqual(names, [set(left), set(left)], said)
            self.assertEqual(holder.stdout.readline(), "")
            self.assertEqual(holder.wait(10), -signal.SIGBUS, "the mapping has no pages any more")


class ReadOnce(LeaseCase):
    """Containers whose first process sleeps, and others that come in and read."""

    def setUp(self):
        super().setUp()
        self.mayfly.policy(grant("web", {"container.name": "web*"}, {"name": "a", "read": "once", "mode": "0444"}, "b", guard="always"))
        self.engine.container("--name", "web1", "-v", f"{self.volume_name}:{SECRETS}", IMAGE, "sleep", "600")
        wait_for(self.leases, "it is released")

    def sh(self, command, **options):
        return self.engine.exec("web1", "sh", "-c", command, **options)

    def gone(self):
        wait_for(lambda: "a" not in os.listdir(self.root()), "it is taken")

    def test_the_first_to_open_it_reads_it_and_nobody_after(self):
        self.assertEqual(self.sh(f"cat {SECRETS}/a").stdout, "value of a")
        self.gone()
        self.assertNotEqual(self.sh(f"cat {SECRETS}/a", check=False).returncode, 0)
        self.assertEqual(self.sh(f"cat {SECRETS}/b; cat {SECRETS}/b").stdout, "value of b" * 2)
        self.assertEqual(self.record("take")["reason"], "it was read once")

    def test_a_first_process_that_waits_for_it_reads_it(self):
        self.engine.container("--name", "web2", "-v", f"{self.volume_name}:{SECRETS}", IMAGE, "sh", "-c",
                              f"cat {SECRETS}/a {SECRETS}/b; echo; sleep 600")
        wait_for(lambda: self.engine.docker("logs", "web2").stdout == "value of avalue of b\n", "both are read")
        wait_for(lambda: "a" not in os.listdir(self.root("web2")), "it is taken")
        self.assertIn("a", os.listdir(self.root("web1")), "another container's is its own")

    def test_while_it_is_open_nobody_else_may_open_it(self):
        holder = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", "-i", "web1", "sh", "-c",
                                   f"exec 3< {SECRETS}/a; echo open; sleep 600 <&3 & exec 3<&-; read x; kill $!; echo over"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        self.addCleanup(holder.stdout.close)
        self.assertEqual(holder.stdout.readline(), "open\n")
        self.assertIn("not permitted", self.sh(f"cat {SECRETS}/a", check=False).stderr)
        time.sleep(0.5)
        self.assertIn("a", os.listdir(self.root()), "a child has it open still")
        self.assertNotEqual(self.sh(f"cat {SECRETS}/a", check=False).returncode, 0)
        holder.stdin.write("\n")
        holder.stdin.close()
        self.assertEqual(holder.stdout.readline(), "over\n")
        self.gone()
        self.assertTrue(any("opened already" in r["reason"] for r in self.records("open") if r["decision"] == "refused"))

    def test_an_open_that_was_refused_does_not_count(self):
        with self.assertRaises(PermissionError):
            (self.root() / "a").read_text()
        self.assertEqual(self.sh(f"cat {SECRETS}/a").stdout, "value of a")
        self.gone()

    def test_the_broker_that_has_allowed_it_dies(self):
        holder = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", "-i", "web1", "sh", "-c",
                                   f"exec 3< {SECRETS}/a; echo open; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.stdin.close)
        self.assertEqual(holder.stdout.readline(), "open\n")
        self.mayfly.kill("mayfly-broker")
        self.mayfly.wait_ready()
        self.gone()
        self.assertEqual(self.sh(f"cat {SECRETS}/b").stdout, "value of b")

    def test_before_it_is_opened_a_restart_changes_nothing(self):
        self.mayfly.kill_all()
        self.mayfly.start()
        wait_for(self.leases, "it is adopted")
        self.assertEqual(self.sh(f"cat {SECRETS}/a").stdout, "value of a")
        self.gone()


class Restart(LeaseCase):
    """Each test ends with a Mayfly that runs."""

    def stop_for(self, until_ms, stop=None):
        (stop or self.mayfly.stop)()
        wait_for(lambda: boot_ms() > until_ms, "the time has passed", 30)

    def test_the_terms_are_kept(self):
        self.policy("a", ttl="2h", max_ttl="8h")
        self.start()
        root, before = self.root(), self.row()["term"]
        self.mayfly.kill("mayfly-broker")
        self.mayfly.wait_ready()
        self.assertEqual(self.row()["term"], before)
        self.mayfly.stop()
        self.mayfly.start()
        self.assertEqual(self.row()["term"], before)
        self.mayfly.kill_all()
        self.mayfly.start()
        wait_for(self.leases, "it is adopted")
        self.assertEqual(self.row()["term"], before)
        self.assertIn(self.lease()["expires_in_s"], range(8 * 3600 - 60, 8 * 3600))
        self.assertEqual((root / "a").read_text(), "value of a")

    def test_a_restart_does_not_move_the_hard_end(self):
        self.policy("a", max_ttl="5s")
        self.start()
        root, began = self.root(), self.row()["term"]["began_ms"]
        self.mayfly.kill("mayfly-broker")
        self.mayfly.wait_ready()
        late = self.gone_at(root / "a", 10) - (began + 5000)
        self.assertGreaterEqual(late, 0)
        self.assertLessEqual(late, 100)

    def test_what_was_not_renewed_while_mayfly_was_away_is_kept_or_emptied(self):
        self.policy(grant("web", {"container.name": "web1"}, "a", lease={"ttl": "2s"}),
                    grant("empty", {"container.name": "web2"}, "a", lease={"ttl": "2s", "unrenewed": "empty"}))
        self.start()
        self.start("web2")
        kept, emptied, end = self.root(), self.root("web2"), self.row("web2")["term"]["period_end_ms"]
        self.stop_for(end + 2500)
        self.assertEqual((emptied / "a").read_text(), "value of a", "nobody was there")
        self.mayfly.start()
        self.assertEqual(os.listdir(emptied), [], "it is emptied before anything else")
        self.assertIn("could not be renewed", self.record("end", "web2")["reason"])
        self.assertEqual((kept / "a").read_text(), "value of a")
        wait_for(lambda: self.row()["term"]["period_end_ms"] > boot_ms(), "it is renewed")

    def test_past_its_hard_end_the_next_start_empties_it_before_anything_else(self):
        for stop in (self.mayfly.stop, self.mayfly.kill_all):
            with self.subTest(stop=stop.__name__):
                self.policy("a", max_ttl="3s")
                self.start()
                root, began = self.root(), self.row()["term"]["began_ms"]
                self.stop_for(began + 3200, stop)
                self.assertEqual((root / "a").read_text(), "value of a", "nobody was there")
                # Before the engine is asked for anything: there is none that answers.
                self.engine.process.send_signal(signal.SIGSTOP)
                try:
                    self.mayfly.start(wait=False)
                    self.gone_at(root / "a", 10)
                finally:
                    self.engine.process.send_signal(signal.SIGCONT)
                self.mayfly.wait_ready()
                self.engine.remove_containers()

    def test_without_a_broker_the_mounter_empties_it_at_its_hard_end(self):
        self.policy("a", max_ttl="5s")
        self.start()
        root, began = self.root(), self.row()["term"]["began_ms"]
        state = self.mayfly.root / "var/lib/mayfly"
        # No broker can start while the state is damaged; the mounter lives.
        mounter = self.mayfly.child("mayfly-mounter")
        (state / "state.db").rename(state / "kept.db")
        (state / "state.db").write_bytes(b"damaged " * 1000)
        os.chown(state / "state.db", harness.USER, harness.USER)
        try:
            self.mayfly.kill("mayfly-broker")
            late = self.gone_at(root / "a", 15) - (began + 5000)
            self.assertEqual(self.mayfly.child("mayfly-mounter"), mounter, "the same mounter")
        finally:
            for name in ("state.db", "state.db-wal", "state.db-shm"):
                (state / name).unlink(missing_ok=True)
            (state / "kept.db").rename(state / "state.db")
        print(f"# emptied by the mounter {late:.1f} ms after the hard end")
        self.assertGreaterEqual(late, 0)
        self.assertLess(late, 3000)
        self.assertEqual(os.listdir(root), [])
        if self.mayfly.process.poll() is None:
            self.mayfly.kill_all()
        self.mayfly.start()
        self.assertEqual(self.leases(), [])

    def test_a_shifted_clock_moves_no_lease(self):
        self.policy("a", ttl="1h", max_ttl="8h", unrenewed="empty")
        self.start()
        root, before = self.root(), self.row()["term"]
        for shift in (86400, -3600):
            with self.subTest(shift=shift):
                self.mayfly.stop()
                self.mayfly.wrapper = ["unshare", "-T", "--boottime", str(shift), "--monotonic", str(shift)]
                try:
                    self.mayfly.start()
                    self.assertNotEqual(os.readlink(f"/proc/{self.mayfly.child('mayfly-broker')}/ns/time"),
                                        os.readlink("/proc/self/ns/time"))
                    time.sleep(1)  # for the mounter, which would wipe it now
                    lease = self.lease()
                    self.assertIn(lease["expires_in_s"], range(8 * 3600 - 90, 8 * 3600))
                    self.assertIn(lease["renewal_in_s"], range(3600 - 90, 3600))
                    self.assertEqual((root / "a").read_text(), "value of a")
                    self.assertEqual(self.row()["term"], before)
                finally:
                    self.mayfly.stop()
                    self.mayfly.wrapper = []
                    self.mayfly.start()
        self.assertEqual(self.row()["term"], before)


if __name__ == "__main__":
    harness.unittest.main()
