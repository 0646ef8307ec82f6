"""The program in the container, which MAYFLY_EXEC names, against a container socket of the tests' own."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import unittest

import container_stand_in
from container_stand_in import GONE, SILENT, ContainerStandIn, Error, Files, Raw, Slow

PROGRAM = os.environ["MAYFLY_EXEC"]
CANARY = b"canary-of-the-exec-test"
WAIT_S = 30


def run(*words, path=None, env=None, **more):
    environment = {"PATH": os.environ["PATH"], **({"MAYFLY_SOCKET": str(path)} if path else {}), **(env or {})}
    return subprocess.run([PROGRAM, *words], env=environment, capture_output=True, timeout=60, check=False, **more)


class WithStandIn(unittest.TestCase):
    def setUp(self):
        self.broker = ContainerStandIn()
        self.addCleanup(self.end)
        self.broker.start()
        self.files = Files(self.broker.root / "secrets")
        self.delivery = self.files.fill(db_password=CANARY, keys__api=b"second")
        self.broker.replies["Request"] = {"delivery": self.delivery, "is_new": True}

    def end(self):
        problems = self.broker.problems
        self.broker.close()
        self.assertEqual(problems, [])

    def run(self, *words, **more):
        # unittest calls run() with its result.
        if words and not isinstance(words[0], str):
            return super().run(*words)
        return run(*words, path=self.broker.path, **more)

    def fails(self, status, says, *words, **more):
        result = self.run(*words, **more)
        self.assertEqual(result.returncode, status, result)
        self.assertIn(says, result.stderr)
        self.assertEqual(result.stdout, b"")
        return result


class Request(WithStandIn):
    def test_what_was_delivered_is_told_without_a_value(self):
        result = self.run("request")
        self.assertEqual(result.returncode, 0, result)
        self.assertIn(f"delivered: {self.files.target} (generation 1, lease lease-1)".encode(), result.stdout)
        self.assertIn(f"  {self.files.target}/db-password: prod/db-password version 1\n".encode(), result.stdout)
        self.assertNotIn(CANARY, result.stdout + result.stderr)
        self.assertEqual(self.broker.calls[-1].parameters, {})

    def test_json_is_the_broker_s_reply(self):
        result = self.run("request", "--json")
        self.assertEqual(json.loads(result.stdout), self.broker.replies["Request"])

    def test_what_was_there_already_is_told(self):
        self.broker.replies["Request"] = {
            "delivery": self.files.delivery(expires="2030-01-02T03:04:05Z"),
            "is_new": False,
        }
        result = self.run("request")
        self.assertIn(b"was there already: ", result.stdout)
        self.assertIn(b"ends 2030-01-02T03:04:05Z)", result.stdout)
        self.assertEqual(
            json.loads(self.run("request", "--json").stdout)["delivery"]["expires"], "2030-01-02T03:04:05Z"
        )

    def test_grant_names_and_wait_are_asked_for(self):
        self.assertEqual(self.run("request", "--grant", 'shop "web"', "--wait", "30s", "a", "b").returncode, 0)
        self.assertEqual(
            self.broker.calls[-1].parameters, {"grant": 'shop "web"', "names": ["a", "b"], "wait_ms": 30000}
        )

    def test_every_error_says_why_and_has_its_status(self):
        rows = [
            (
                Error("Refused", {"text": "grant shop-web refuses a privileged container"}),
                b"mayfly: request: Request: grant shop-web refuses",
            ),
            (Error("NotAttested", {"text": "no known container"}), b"no known container"),
            (Error("NotYet", {"text": "the store is locked"}), b"the store is locked"),
            (
                Error("NoTarget", {"text": "/run/secrets is missing", "advice": "tmpfs: [ /run/secrets ]"}),
                b"\ntmpfs: [ /run/secrets ]\n",
            ),
            (Error("Failed", {"text": "an \x1b[31mescape\u0085 that is no text"}), b"an ?[31mescape? that"),
            (Error("NothingDelivered"), b"org.mayfly.Container.NothingDelivered"),
            (
                Error("TooMuch", {"limit": "10 calls a second", "retry_after_ms": 3600000}),
                b"too often: 10 calls a second",
            ),
        ]
        for reply, says in rows:
            with self.subTest(reply.name):
                self.broker.replies["Request"] = reply
                self.fails(1, says, "request")

    def test_usage(self):
        rows = [
            ("--wait", "11m"),
            ("--wait", "3"),
            ("--wait", "s"),
            ("--wait", "99999999999s"),
            ("--wait",),
            ("--bogus",),
            ("",),
            ("x" * 256,),
            ("--grant", ""),
            (b"\xff",),
        ]
        for words in rows:
            with self.subTest(words):
                result = run("request", *words, path=self.broker.path)
                self.assertEqual((result.returncode, result.stdout), (2, b""), result)
        self.assertEqual(self.broker.calls, [])

    def test_standard_output_that_is_full_is_no_success(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [PROGRAM, "request"],
                env={"MAYFLY_SOCKET": str(self.broker.path)},
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"No space left", result.stderr)

    def test_an_echo_is_sent_where_the_kernel_needs_one(self):
        self.broker.echo_first = True
        self.assertEqual(self.run("request").returncode, 0)
        self.assertEqual([c.method for c in self.broker.calls], ["Request"])

    def test_descriptors_that_are_passed_are_not_collected(self):
        self.broker.passes_descriptors = True
        self.assertEqual(self.run("request").returncode, 0)

    def test_too_much_is_waited_for(self):
        self.broker.replies["Request"] = [
            Error("TooMuch", {"limit": "x", "retry_after_ms": 300}),
            self.broker.replies["Request"],
        ]
        begun = time.monotonic()
        self.assertEqual(self.run("request").returncode, 0)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)

    def test_a_broker_that_is_being_started_is_waited_for_within_the_wait(self):
        being_started = Error("NotYet", {"text": "Mayfly is being started"})
        self.broker.replies["Request"] = [being_started, being_started, self.broker.replies["Request"]]
        self.assertEqual(self.run("request", "--wait", "30s").returncode, 0)
        self.assertEqual(len(self.broker.calls), 3)

    def test_a_slow_reply_is_read_whole(self):
        self.broker.replies["Request"] = Slow(self.broker.replies["Request"], 0.05, parts=7)
        self.assertEqual(self.run("request").returncode, 0)

    def test_a_connection_that_ends_is_opened_again(self):
        good = self.broker.replies["Request"]
        half = container_stand_in.message({"parameters": good})[:40]
        for broken in (GONE, Raw(half, closes=True)):
            with self.subTest(broken):
                self.broker.replies["Request"] = [broken, broken, good]
                self.assertEqual(self.run("request").returncode, 0)

    def test_a_broken_protocol_is_an_error(self):
        nested = b"[" * 100000
        rows = [
            (b"garbage\0", b"is no JSON"),
            (b"\0", b"is no JSON"),
            (b"[]\0", b"is no object"),
            (b'{"parameters":{"delivery":7}}\0', b"no valid lease"),
            (b'{"parameters":{},"continues":true}\0', b"a second reply"),
            (b'{"error":7}\0', b"no text"),
            (nested + b"\0", b"is too large"),
            (b" " * (2 << 20), b"has no end"),
            (b'{"parameters":"\xff"}\0', b"is no JSON"),
            (b'{"parameters":{},"parameters":{}}\0', b"is no JSON"),
        ]
        for content, says in rows:
            with self.subTest(content[:40]):
                self.broker.replies["Request"] = Raw(content)
                self.fails(1, says, "request")

    def test_a_broker_that_starts_again_is_waited_for(self):
        self.broker.stop()
        with subprocess.Popen(
            [PROGRAM, "request"], env={"MAYFLY_SOCKET": str(self.broker.path)}, stdout=subprocess.PIPE
        ) as process:
            time.sleep(0.3)  # Long enough that it has found nobody.
            self.assertIsNone(process.poll())
            self.broker.start()
            self.assertIn(b"delivered:", process.communicate(timeout=WAIT_S)[0])
            self.assertEqual(process.returncode, 0)

    def test_a_mount_that_is_missing_is_told_at_once(self):
        begun = time.monotonic()
        result = run("request", path=self.broker.root / "nowhere" / "container.sock")
        self.assertEqual(result.returncode, 3, result)
        self.assertIn(b"/run/mayfly/container:/run/mayfly:ro", result.stderr)
        self.assertLess(time.monotonic() - begun, 5)

    def test_silence_ends_with_the_deadline(self):
        self.broker.replies["Request"] = SILENT
        result = self.fails(3, b"has not answered in time", "request")
        self.assertNotIn(b"canary", result.stderr)


class Watch(WithStandIn):
    @contextlib.contextmanager
    def watching(self, *words):
        environment = {"MAYFLY_SOCKET": str(self.broker.path)}
        with subprocess.Popen(
            [PROGRAM, "watch", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def test_changes_are_printed_as_they_come(self):
        self.broker.present = [self.delivery]
        with self.watching() as process:
            self.assertEqual(
                process.stdout.readline().decode(), f"present {self.files.target} (generation 1, lease lease-1)\n"
            )
            self.broker.wait_for(lambda: self.broker.watchers, "a watch")
            for event in ("rotated", "expiring", "ended"):
                self.broker.tell(event, self.files.fill(db_password=b"next"))
                self.assertTrue(
                    process.stdout.readline().decode().startswith(f"{event} {self.files.target} (generation ")
                )

    def test_json_has_the_whole_delivery(self):
        self.broker.present = [self.delivery]
        with self.watching("--json") as process:
            self.assertEqual(json.loads(process.stdout.readline()), {"event": "present", "delivery": self.delivery})

    def test_what_happened_while_the_broker_was_away_is_told(self):
        other = Files(self.broker.root / "other", lease="lease-2")
        self.broker.present = [self.delivery, other.fill(a=b"1")]
        with self.watching("--json") as process:
            for _ in self.broker.present:
                process.stdout.readline()
            self.broker.stop()
            self.broker.present = [self.files.fill(db_password=b"next")]
            self.broker.start()
            seen = [json.loads(process.stdout.readline()) for _ in range(2)]
        self.assertEqual(
            [(e["event"], e["delivery"]["lease"], e["delivery"]["generation"]) for e in seen],
            [("rotated", "lease-1", 2), ("ended", "lease-2", 1)],
        )

    def test_what_has_not_changed_is_not_told_again(self):
        self.broker.present = [self.delivery]
        with self.watching("--json") as process:
            process.stdout.readline()
            self.broker.stop()
            self.broker.start()
            self.broker.wait_for(lambda: self.broker.watchers, "a watch")
            self.broker.tell("expiring", self.delivery)
            self.assertEqual(json.loads(process.stdout.readline())["event"], "expiring")

    def test_an_echo_is_sent_first_where_the_kernel_needs_one(self):
        self.broker.echo_first = True
        self.broker.present = [self.delivery]
        with self.watching() as process:
            self.assertTrue(process.stdout.readline().startswith(b"present "))

    def test_too_much_and_broken_connections_are_overcome(self):
        self.broker.present = [self.delivery]
        self.broker.replies["Watch"] = [
            Error("TooMuch", {"limit": "x", "retry_after_ms": 50}),
            Error("NotYet", {"text": "Mayfly is being started"}),
            GONE,
            Raw(b'{"param', closes=True),
            None,
        ]
        with self.watching() as process:
            self.assertTrue(process.stdout.readline().startswith(b"present "))

    def test_an_outage_is_said_once(self):
        self.broker.stop()
        with self.watching() as process:
            self.assertIn(b"watch: still trying: connect to", process.stderr.readline())
            self.broker.present = [self.delivery]
            self.broker.start()
            self.assertTrue(process.stdout.readline().startswith(b"present "))

    def test_a_refusal_ends_it(self):
        self.broker.replies["Watch"] = Error("NotAttested", {"text": "no known container"})
        self.fails(1, b"watch: Watch: no known container", "watch")

    def test_usage(self):
        self.fails(2, b"a word too many", "watch", "x")
        self.fails(2, b"is no option", "watch", "--bogus")
        self.assertEqual(run("watch", path=self.broker.root / "nowhere/x").returncode, 3)


class Exec(unittest.TestCase):
    def setUp(self):
        self.broker = ContainerStandIn()  # Never started: exec needs no socket.
        self.addCleanup(self.broker.close)
        self.files = Files(self.broker.root / "secrets")
        self.files.fill(db_password=CANARY, keys__api=b"second\nline\n")

    def exec(self, *words, **more):
        return run("exec", "--from", str(self.files.directory), *words, **more)

    def test_the_command_has_the_secrets_and_the_rest_of_the_environment(self):
        result = self.exec(
            "--env",
            "DB_PASSWORD=db-password",
            "--env",
            "API=keys/api",
            "--",
            "env",
            "-0",
            env={"OTHER": "x", "API": "old", "API2": "kept"},
        )
        self.assertEqual(result.returncode, 0, result)
        items = [item.split(b"=", 1) for item in result.stdout.split(b"\0") if item]
        seen = dict(items)
        self.assertEqual(len(items), len(seen), "a variable is there twice")
        self.assertEqual(
            seen,
            {
                b"PATH": os.environ["PATH"].encode(),
                b"OTHER": b"x",
                b"API2": b"kept",
                b"DB_PASSWORD": CANARY,
                b"API": b"second\nline\n",
            },
        )

    def test_the_command_is_the_same_process_and_gets_its_words(self):
        result = self.exec("--env", "A=db-password", "sh", "-c", 'echo $$ "$@"', "x", "--env", "a b", "--help")
        self.assertEqual(result.stdout.split(b" ", 1)[1], b"--env a b --help\n")
        with subprocess.Popen(
            [PROGRAM, "exec", "--from", str(self.files.directory), "--env", "A=db-password", "sh", "-c", "echo $$"],
            stdout=subprocess.PIPE,
        ) as process:
            self.assertEqual(int(process.communicate(timeout=WAIT_S)[0]), process.pid)

    def test_the_exit_status_is_the_command_s(self):
        self.assertEqual(self.exec("--env", "A=db-password", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.exec("--env", "A=db-password", "sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)

    def test_what_cannot_be_run_has_the_shells_status(self):
        plain = self.broker.root / "plain"
        plain.write_text("x")
        rows = [
            (["no-such-command"], 127, b"run 'no-such-command': No such file"),
            (["/no/such"], 127, b"No such file"),
            ([str(plain)], 126, b"Permission denied"),
            ([str(self.broker.root)], 126, b"Permission denied"),
            ([f"{plain}/x"], 127, b"Not a directory"),
        ]
        for command, status, says in rows:
            with self.subTest(command):
                result = self.exec("--env", "A=db-password", "--", *command)
                self.assertEqual(result.returncode, status, result)
                self.assertIn(says, result.stderr)
                self.assertNotIn(CANARY, result.stderr)

    def test_a_script_without_a_first_line_is_run_as_execvp_does(self):
        script = self.broker.root / "script"
        script.write_text('echo "$A"\n')
        script.chmod(0o755)
        self.assertEqual(self.exec("--env", "A=db-password", "--", str(script)).stdout.strip(), CANARY)

    def test_argv0_means_nothing(self):
        for name in ("/mayfly", "", "sh"):
            result = subprocess.run(
                [name, "exec", "--from", str(self.files.directory), "--env", "A=db-password", "sh", "-c", "echo $A"],
                executable=PROGRAM,
                capture_output=True,
                timeout=60,
                check=False,
            )
            self.assertEqual(result.stdout.strip(), CANARY, (name, result))

    def test_values_that_no_environment_holds_are_refused_by_name(self):
        self.files.fill(good=b"x", nul=b"secret\0bytes", large=b"y" * (128 << 10))
        for name, says in (("nul", b"nul has a NUL byte"), ("large", b"large has 131072 bytes")):
            result = self.exec("--env", "G=good", "--env", f"A={name}", "--", "env")
            self.assertEqual((result.returncode, result.stdout), (1, b""), result)
            self.assertIn(says, result.stderr)
            self.assertNotIn(b"secret", result.stderr)

    def test_the_largest_value_that_fits_is_taken(self):
        self.files.fill(a=b"y" * ((128 << 10) - len("A=") - 1))
        self.assertEqual(self.exec("--env", "A=a", "--", "sh", "-c", "echo ${#A}").stdout, b"131069\n")

    def test_files_that_come_late_are_waited_for(self):
        late = Files(self.broker.root / "late")
        for words in ((), ("--wait", "30s")):
            with subprocess.Popen(
                [PROGRAM, "exec", "--from", str(late.directory / "in"), *words, "--env", "A=a", "sh", "-c", "echo $A"],
                stdout=subprocess.PIPE,
            ) as process:
                time.sleep(0.3)  # Long enough that it has found nothing.
                self.assertIsNone(process.poll())
                Files(late.directory / "in").fill(a=b"came")
                self.assertEqual(process.communicate(timeout=WAIT_S)[0], b"came\n")
            container_stand_in.shutil.rmtree(late.directory / "in")

    def test_a_name_that_a_delivery_lacks_is_told_at_once(self):
        begun = time.monotonic()
        result = self.exec("--env", "A=db-pasword", "--", "env")
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(b"is the name right?", result.stderr)
        self.assertLess(time.monotonic() - begun, 5)

    def test_with_wait_a_name_that_a_delivery_lacks_may_come(self):
        with subprocess.Popen(
            [
                PROGRAM,
                "exec",
                "--from",
                str(self.files.directory),
                "--wait",
                "30s",
                "--env",
                "A=later",
                "sh",
                "-c",
                "echo $A",
            ],
            stdout=subprocess.PIPE,
        ) as process:
            time.sleep(0.3)  # Long enough that it has found the delivery without it.
            self.files.fill(later=b"came")
            self.assertEqual(process.communicate(timeout=WAIT_S)[0], b"came\n")

    def test_a_wait_ends(self):
        for words, where in (
            (("--wait", "1s"), self.files.directory),
            (("--wait", "0s"), self.broker.root / "nowhere"),
        ):
            result = run("exec", "--from", str(where), *words, "--env", "A=never", "--", "env")
            self.assertEqual((result.returncode, result.stdout), (1, b""), result)
            self.assertIn(b"nothing was delivered in time", result.stderr)

    def test_all_values_are_of_one_generation(self):
        """Whatever is rotated meanwhile: both files always say the same number."""
        over = threading.Event()

        def rotate():
            number = 0
            while not over.is_set():
                number += 1
                self.files.fill(a=b"%d" % number, b=b"%d" % number, c=b"%d" % number)

        self.files.fill(a=b"0", b=b"0", c=b"0")
        thread = threading.Thread(target=rotate)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)
        seen = set()
        for _ in range(60):
            result = self.exec(
                "--wait", "30s", "--env", "A=a", "--env", "B=b", "--env", "C=c", "sh", "-c", "echo $A $B $C"
            )
            self.assertEqual(result.returncode, 0, result)
            numbers = result.stdout.split()
            self.assertEqual(numbers, numbers[:1] * 3)
            seen.add(numbers[0])
        self.assertGreater(len(seen), 20, "nothing was rotated meanwhile")

    def test_a_plain_layout_is_read_too(self):
        plain = self.broker.root / "plain-layout"
        plain.mkdir()
        (plain / "a").write_bytes(b"plain")
        self.assertEqual(
            run("exec", "--from", str(plain), "--env", "A=a", "--", "sh", "-c", "echo $A").stdout, b"plain\n"
        )

    def test_an_empty_file_is_no_value(self):
        self.files.fill(a=b"")
        result = self.exec("--wait", "0s", "--env", "A=a", "--", "env")
        self.assertEqual((result.returncode, result.stdout), (1, b""), result)
        self.assertIn(b"its delivery has ended", result.stderr)

    def test_usage(self):
        rows = [
            ([], b"no command"),
            (["--", "env"], b"--env NAME=SECRET"),
            (["--env", "A", "env"], b"is no NAME=SECRET"),
            (["--env", "=a", "env"], b"has no name"),
            (["--env", "A=", "env"], b"names no secret"),
            (["--env", "1A=a", "env"], b"letters"),
            (["--env", "A-B=a", "env"], b"letters"),
            (["--env", "A=db-password", "--env", "A=keys/api", "env"], b"given before"),
            (["--env", "A=../x", "env"], b"without"),
            (["--env", "A=/etc/passwd", "env"], b"relative"),
            (["--env", "A=db-password"], b"no command"),
            (["--wait", "2h", "env"], b"at most 1h"),
            (["--bogus"], b"'--bogus' is no option"),
            (sum([["--env", f"A{i}=a"] for i in range(65)], []) + ["env"], b"one too many"),
        ]
        for words, says in rows:
            with self.subTest(words[:2]):
                result = self.exec(*words)
                self.assertEqual((result.returncode, result.stdout), (2, b""), result)
                self.assertIn(says, result.stderr)

    @unittest.skipIf(os.geteuid() != 0, "root's files are to be refused to somebody else")
    def test_a_file_of_another_owner_names_the_owner(self):
        (self.files.directory / "..data/db-password").chmod(0o400)
        self.broker.root.chmod(0o755)
        result = self.exec("--env", "A=db-password", "--", "env", user=65534, group=65534, extra_groups=[])
        self.assertEqual(result.returncode, 1, result)
        self.assertIn(b"it is uid 0's with mode 0400, this process is uid 65534's", result.stderr)


class Help(unittest.TestCase):
    def test_every_verb_explains_itself_with_an_example(self):
        listing = run("--help")
        self.assertEqual((listing.returncode, listing.stderr), (0, b""))
        for verb in ("request", "watch", "exec"):
            result = run(verb, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertTrue(
                result.stdout.startswith(verb.encode())
                and b"\nExample:\n  /mayfly " in result.stdout
                and b"Exit status: " in result.stdout
            )
            self.assertLessEqual(max(len(line) for line in result.stdout.split(b"\n")), 84, verb)
            self.assertIn(f"  {verb} ".encode(), listing.stdout)

    def test_the_environment_s_cost_is_told(self):
        text = run("exec", "--help").stdout
        for part in (b"/proc/PID/environ", b"inherits", b"crash reporters", b"started again"):
            self.assertIn(part, text)

    def test_no_verb_is_usage(self):
        for words in ((), ("bogus",), ("",)):
            self.assertEqual(run(*words).returncode, 2)
        self.assertEqual(run("--version").stdout.split()[0], b"mayfly")
