"""Every verb against the real broker: as it should go, and in its main failure. Exit status, words, JSON, audit."""

import array
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading

import alone
import harness

VALUE = b"canary-value-4711"
WIDTH = 80
# What needs an engine, or the rest of this file does in tests of their own.
ELSEWHERE = {
    "explain",
    "backup",
    "restore",
    "key backup",
    "import",
    "compose",
    "compose convert",
    "unlock",
    "lock",
    "key list",
    "key add",
    "key remove",
    "key rotate",
    "audit",
    "audit verify",
    "forbid",
    "init",
    "leases",
    "revoke",
}


class Row:
    """WORDS with VALUE on standard input end with CODE, say SAYS, and are recorded as ACTION (None: not at all)."""

    def __init__(self, words, code, says, action=None, value=None, json=True):
        self.words, self.code, self.says, self.action = (
            words.split() if isinstance(words, str) else words,
            code,
            says,
            action,
        )
        self.value, self.json = value, json


ROWS = [
    Row("put prod/new", 0, "prod/new: stored (version 1)", "put", VALUE),
    Row("put prod/new", 0, "unchanged", "put", VALUE),
    Row(
        "put prod/new",
        1,
        "prod/new has another value already\n  `mayfly rotate` brings it to running containers too",
        "put",
        b"other",
    ),
    Row("put prod/new --stage", 0, "version 2 is staged", "put", b"other"),
    Row("put new", 2, "write SET/NAME", None, VALUE),
    Row("generate prod/made", 0, "generated (version 1)", "generate"),
    Row("generate prod/made", 1, "prod/made has another value already", "generate"),
    Row("generate prod/made --length 8 --stage", 0, "version 2", "generate"),
    Row("rotate prod/made --generate", 0, "prod/made: version 3 is in force\n  no container has it", "rotate"),
    Row("rotate prod/nothing --generate", 1, "there is no secret prod/nothing", "prepare"),
    Row("rollback prod/made", 0, "prod/made: version 4 is in force", "rotate"),
    Row("list", 0, "prod/made"),
    Row("ls prod --prefix ma", 0, "prod/made"),
    Row("list nowhere", 1, "there is no set 'nowhere'"),
    Row("show prod/new", 0, "5 bytes, text of 1 line, no final newline"),
    Row(
        "show prod/nwe",
        1,
        "there is no secret prod/nwe, and none of that name in what the set inherits; did you mean prod/new?",
    ),
    Row("history prod/new", 0, "previous"),
    Row("history prod/none", 1, "there is no secret prod/none\n  `mayfly list` shows what is there"),
    Row("verify prod/new", 0, "same: prod/new, version 2", "verify", b"other\n"),
    Row("verify prod/new", 1, "differs: prod/new, version 2", "verify", b"else"),
    Row("verify prod/new --version 1", 0, "same: prod/new, version 1", "verify", VALUE),
    Row("verify prod/neww", 1, "there is no secret prod/neww; did you mean prod/new?", "verify", b"x"),
    Row("reveal prod/new", 0, "other", "reveal", json=False),
    Row("reveal prod/new --version 1", 0, VALUE.decode(), "reveal", json=False),
    Row("reveal prod/new --version 9", 1, "prod/new", "reveal", json=False),
    Row("get prod/new", 1, "compare one you have: `mayfly verify prod/new`", json=False),
    Row("keep prod/new 1 --yes", 0, "at most 1 version kept; 1 destroyed", "keep"),
    Row("keep prod/new 200 --yes", 2, "100"),
    Row("keep prod/new 1", 0, "at most 1 version kept; 0 destroyed", "keep"),
    Row("remove prod/new --yes", 0, "undelete", "remove"),
    Row("remove prod/new --yes", 1, "prod/new", "remove"),
    Row("list prod --removed", 0, "NAME      VERSION  KEPT  REMOVED\nprod/new  2        1     20"),
    Row("list prod", 0, "NAME       VERSION  KEPT  CHANGED\nprod/made  4"),
    Row("undelete prod/new", 0, "prod/new", "undelete"),
    Row("undelete prod/none", 1, "there is no secret prod/none", "undelete"),
    Row("rm prod/new --purge --yes", 0, "1 version destroyed", "purge"),
    Row("undelete prod/new", 1, "prod/new", "undelete"),
    Row("set list", 0, "prod (environment)"),
    Row("set create staging --inherits common", 0, "staging", "reload"),
    Row("set create Staging", 2, "'Staging' is no name for a set"),
    Row("set create other --inherits comon", 1, "did you mean 'common'?", "reload"),
    Row("set create staging", 1, "staging"),
    Row(
        ["allow", "--name", "backup", "--secret", "s3-key:uid=1000", "--require", "non_root", "--yes"],
        0,
        "backup",
        "reload",
    ),
    Row(["allow", "--name", "backup*", "--secret", "s3-key", "--grant", "other", "--yes"], 1, "backup"),
    Row(["allow", "--secret", "s3-key"], 2, "which containers"),
    Row("policy show", 0, "grant backup"),
    Row("policy show bakcup", 1, "there is no such grant; did you mean backup?"),
    Row("policy check", 0, "1 grant, no mistakes"),
    Row("policy check --against-running", 0, "no running container would get other files"),
    Row("policy check /nonexistent.json", 1, "open '/nonexistent.json': No such file"),
    Row("policy reload", 0, "configuration and policy are read: 1 grant\n", "reload"),
    Row("set fill dev", 0, "s3-key", "set fill"),
    Row("set fill nowhere", 1, "there is no set 'nowhere'"),
    Row("diff dev prod", 0, "only in dev: 1\n  s3-key"),
    Row("diff dev nowhere", 1, "there is no set 'nowhere'"),
    Row("status", 0, "store       unlocked"),
    Row("status --check", 1, "MAYFLY WARNING - unlocked: an engine is not connected"),
    Row("doctor", 0, "every one opens where it stands"),
    Row("help", 0, "put", json=False),
    Row("help put", 0, "Example", json=False),
    Row("help putt", 2, "did you mean 'put'?", json=False),
    Row("help key", 2, "'key' needs one of: ", json=False),
    Row("completion bash", 0, "complete", json=False),
    Row("completion zsh", 2, "bash", json=False),
    Row("version", 0, "0.1.0"),
    Row("nothing-like-it", 2, "nothing-like-it", json=False),
    Row("putt prod/x", 2, "did you mean", json=False),
]


class Verbs(alone.AloneCase):
    tag = "verbs"

    def last_record(self):
        records = self.mayfly.audit("--last", "1")
        return records[0] if records else None

    def run_row(self, row):
        process = subprocess.Popen(
            [str(self.mayfly.build / "client/cli/mayfly"), *row.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root), NO_COLOR="1"),
        )
        out, said = process.communicate(row.value or b"", 60)
        return process.returncode, out.decode(), said.decode(), process.pid

    def check_row(self, row):
        before = self.last_record()["seq"]
        code, out, said, pid = self.run_row(row)
        self.assertEqual(code, row.code, out + said)
        self.assertIn(row.says, out + said)
        answers = row.says.startswith(("differs", "MAYFLY"))  # an exit status of 1 that refuses nothing
        if code and not answers:
            self.assertIn("mayfly: ", said)
        # What is pasted, run or read by programs is as long as it is.
        lines = [line for line in out.splitlines() if not line.startswith(("Next: docker run", "MAYFLY ", "\tmapfile"))]
        self.assertLessEqual(max(map(len, lines), default=0), WIDTH, out)
        record = self.last_record()
        if row.action is None:
            self.assertEqual(record["seq"], before)
            return
        self.assertEqual(
            (record["action"], record["actor"]["uid"], record["actor"]["kind"]), (row.action, 0, "operator")
        )
        # `set fill` and the like call more than once; the process is the same.
        self.assertEqual(record["actor"]["pid"], pid)
        self.assertEqual(record["decision"], "refused" if code and not answers else "granted", record)
        if row.words[0] in ("put", "generate", "verify", "reveal", "keep", "remove", "rm", "undelete"):
            self.assertEqual(f"{record['set']}/{record['name']}", row.words[1])
        if record["decision"] == "refused":
            self.assertTrue(record["reason"])

    def test_every_verb_goes_well_once_and_fails_once(self):
        for row in ROWS:
            with self.subTest(" ".join(row.words)):
                self.check_row(row)

    def test_every_verb_is_in_the_table(self):
        names = set(self.done("help", "--names").split("\n")[:-1])
        aliases = {"ls": "list", "rm": "remove"}
        driven = set()
        for row in ROWS:
            words = [aliases.get(row.words[0], row.words[0]), *row.words[1:]]
            driven |= {" ".join(words[:2])} & names or {words[0]} & names
        self.assertEqual(names - driven, ELSEWHERE)

    def test_json_is_json_and_holds_what_was_said(self):
        self.done("put", "prod/json", value=VALUE)
        for words in (
            "list",
            "list prod",
            "show prod/json",
            "history prod/json",
            "set list",
            "diff dev prod",
            "policy show",
            "policy check",
            "policy check --against-running",
            "policy reload",
            "status",
            "audit",
            "audit verify",
            "doctor",
            "key list",
            "version",
            "verify prod/json",
        ):
            with self.subTest(words):
                result = self.mayfly.cli(*words.split(), "--json", value=VALUE)
                self.assertIn(result.returncode, (0, 1))
                self.assertIsInstance(json.loads(result.stdout), dict)
                self.assertNotIn(VALUE, result.stdout)

    def test_without_a_broker_every_verb_that_needs_it_says_so(self):
        environment = dict(os.environ, MAYFLY_ROOT="/nonexistent", NO_COLOR="1")
        for words in (
            "list",
            "show prod/x",
            "put prod/x",
            "status",
            "status --check",
            "doctor",
            "audit",
            "lock",
            "policy reload",
        ):
            with self.subTest(words):
                result = subprocess.run(
                    [self.mayfly.build / "client/cli/mayfly", *words.split()],
                    env=environment,
                    input=b"x",
                    capture_output=True,
                    check=False,
                )
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertIn(b"no broker answers at /nonexistent/run/mayfly/operator.sock", result.stderr)
                self.assertIn(b"is mayflyd running?", result.stderr)

    def test_a_grant_is_forbidden_again(self):
        self.done("allow", "--name", "short", "--secret", "a", "--secret", "b", "--yes")
        self.done("forbid", "short", "--secret", "a", "--yes")
        self.assertNotIn(" a:", self.done("policy", "show", "short"))
        self.done("forbid", "short", "--yes")
        self.says(self.mayfly.cli("policy", "show", "short"), 1, "there is no such grant")
        self.says(self.mayfly.cli("forbid", "short", "--yes"), 1, "short")
        self.done("allow", "--name", "short", "--secret", "a", "--yes")
        self.says(self.mayfly.cli("forbid", "short"), 2, "--yes")  # no terminal to ask at
        self.done("forbid", "short", "--yes")

    def test_compose_files_are_read_and_converted(self):
        compose = pathlib.Path(os.environ.get("MAYFLY_COMPOSE", self.mayfly.build.parent / ".cache/docker-compose"))
        harness.need(compose.is_file(), f"there is no Compose at {compose} (scripts/build-compose)")
        with alone.temporary_directory() as directory:
            plugins = pathlib.Path(directory, "docker/cli-plugins")
            plugins.mkdir(parents=True)
            (plugins / "docker-compose").symlink_to(compose)
            file = pathlib.Path(directory, "compose.yaml")
            file.write_text(
                "services:\n  web:\n    image: shop/web\n    user: '1000'\n    secrets: [compose-db]\n"
                "secrets:\n  compose-db:\n    file: ./db.txt\n"
            )
            environment = dict(
                os.environ, MAYFLY_ROOT=str(self.mayfly.root), NO_COLOR="1", DOCKER_CONFIG=f"{directory}/docker"
            )

            def run(*words):
                return subprocess.run(
                    [self.mayfly.build / "client/cli/mayfly", *words],
                    env=environment,
                    capture_output=True,
                    text=True,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    check=False,
                )

            result = run("compose", "convert", "compose.yaml")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("driver: ", pathlib.Path(directory, "compose.mayfly.yaml").read_text())
            result = run("allow", "--compose", "compose.yaml", "web", "--project-name", "shop", "--yes")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("compose-db", self.done("policy", "show", "shop-web"))
            result = run("compose", "config", "--services")
            self.assertEqual((result.returncode, result.stdout.split()), (0, ["web"]), result.stderr)
            self.assertEqual(run("compose", "convert", "none.yaml").returncode, 1)
            self.assertNotEqual(run("compose", "-f", "none.yaml", "config").returncode, 0)
            self.done("forbid", "shop-web", "--yes")

    def test_no_value_stands_in_a_message_or_an_argument(self):
        """The command talks to the broker through a listener that keeps every byte of both directions."""
        with Listener(self.mayfly.root / "run/mayfly/operator.sock") as listener:
            environment = dict(os.environ, MAYFLY_ROOT=str(listener.root), NO_COLOR="1")

            def run(*words, value=b""):
                process = subprocess.Popen(
                    [self.mayfly.build / "client/cli/mayfly", *words],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                arguments = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()
                out, _ = process.communicate(value, 60)
                self.assertEqual(process.returncode, 0)
                self.assertTrue(not value or value not in arguments)
                return out

            passphrase = b"canary-passphrase-of-the-store"
            run("put", "prod/wire", value=VALUE)
            run("verify", "prod/wire", value=VALUE)
            self.assertEqual(run("reveal", "prod/wire"), VALUE)
            run("key", "add", "passphrase", value=passphrase)
            recovery = run("key", "rotate", value=passphrase) + run("key", "add", "recovery")
            run("key", "list")
            heard = bytes(listener.heard)
        self.assertIn(b"org.mayfly.Operator.Put", heard)
        self.assertGreater(heard.count(b"\0"), 12)
        keys = re.findall(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){12}", recovery.decode())
        self.assertEqual(len(keys), 2)
        for value in (VALUE, passphrase, *(part.encode() for key in keys for part in key.split("-"))):
            self.assertNotIn(value, heard)


class Listener:
    """Passes a socket's messages and descriptors on, both ways, and keeps the bytes."""

    def __init__(self, target):
        self.target, self.heard = str(target), bytearray()
        self.directory = alone.temporary_directory()
        self.root = pathlib.Path(self.directory.name)

    def __enter__(self):
        path = self.root / "run/mayfly"
        path.mkdir(parents=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path / "operator.sock"))
        self.socket.listen(8)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        self.directory.cleanup()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                back = threading.Thread(target=self.pass_on, args=(server, client), daemon=True)
                back.start()
                self.pass_on(client, server)
                back.join(10)
                client.close()
                server.close()

    def pass_on(self, source, target):
        with contextlib.suppress(OSError):
            while True:
                data, ancillary, _, _ = source.recvmsg(65536, socket.CMSG_SPACE(4 * 16))
                if not data:
                    break
                self.heard += data
                fds = array.array("i")
                for _, _, content in ancillary:
                    fds.frombytes(content[: len(content) // 4 * 4])
                target.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
                for fd in fds:
                    os.close(fd)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
