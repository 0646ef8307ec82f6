"""Configuration and policy with mistakes: said with file, line and the word that was meant; what was in force stays."""

import json
import os
import subprocess

import alone
import harness

GRANT = {"name": "web", "match": {"container.name": "web"}, "secrets": [{"name": "db"}]}

# Text of a policy file, the line, words of the complaint.
BAD_POLICIES = {
    "nothing": ("", 1, "valid JSON"),
    "an open brace": ("{\n", 2, "valid JSON"),
    "text behind the end": ('{"grants": []}\n}', 2, "valid JSON"),
    "a zero byte": ('{"grants": [],\n"note": null\0}', 2, "zero byte"),
    "bytes that are no text": (b'{"note": "\xff"}', 1, "unable to decode"),
    "the same key twice": ('{"grants": [],\n "grants": []}', 2, "grants"),
    "a list": ("[]", 1, "must be an object"),
    "no grants": ("{}", 1, "needs the key 'grants'"),
    "an unknown key at the top": ('{\n"grant": [],\n"grants": []}', 2, "'grant'", "did you mean 'grants'?"),
    "grants that are no list": ('{"grants":\n{}}', 2, "list"),
    "an unknown key of a grant": (
        json.dumps({"grants": [{**GRANT, "secret": 1}]}, indent=0),
        13,
        "'secret'",
        "did you mean 'secrets'?",
    ),
    "an unknown key of a match": (
        json.dumps({"grants": [{**GRANT, "match": {"compose.servce": "w"}}]}),
        1,
        "did you mean 'compose.service'?",
    ),
    "an unknown posture": (
        json.dumps({"grants": [{**GRANT, "require": {"nonroot": True}}]}),
        1,
        "'nonroot'",
        "did you mean 'non_root'?",
    ),
    "an unknown key of a secret": (
        json.dumps({"grants": [{**GRANT, "secrets": [{"name": "db", "moed": "0400"}]}]}),
        1,
        "did you mean 'mode'?",
    ),
    "an unknown word": (
        json.dumps({"grants": [{**GRANT, "guard": "allways"}]}),
        1,
        "'allways'",
        "did you mean 'always'?",
    ),
    "an unknown set": (json.dumps({"grants": [{**GRANT, "set": "porduct"}]}), 1, "'porduct'"),
    "a near set": (json.dumps({"grants": [{**GRANT, "set": "prdo"}]}), 1, "did you mean 'prod'?"),
    "a wrong mode": (json.dumps({"grants": [{**GRANT, "secrets": [{"name": "db", "mode": "0999"}]}]}), 1, "'0999'"),
    "a misspelt filter": (
        json.dumps({"grants": [{**GRANT, "secrets": [{"template": "{{db|ulr}}", "as": "u"}]}]}),
        1,
        "did you mean 'url'?",
    ),
    "a name that leads out": (
        json.dumps({"grants": [{**GRANT, "secrets": [{"name": "db", "as": "../db"}]}]}),
        1,
        "../db",
    ),
    "one name for two grants": (json.dumps({"grants": [GRANT, GRANT]}), 1, "web"),
    "nesting without end": ("[" * 100000, 1, "depth"),
}
BAD_CONFIGS = {
    "nothing": ("", 1, "valid JSON"),
    "an open brace": ('{\n "environment": "prod",\n', 3, "valid JSON"),
    "an unknown key at the top": ('{\n"environmnt": "prod"}', 2, "'environmnt'", "did you mean 'environment'?"),
    "an unknown key of a set": (
        '{"sets": {"prod": {\n"provder": "store"}}}',
        2,
        "'provder'",
        "did you mean 'provider'?",
    ),
    "an unknown key of an engine": ('{"engines": [\n{"nam": "x"}]}', 2, "'nam'", "did you mean 'name'?"),
    "an unknown provider": ('{"sets": {"prod": {"provider": "sotre"}}}', 1, "did you mean 'store'?"),
    "a set that inherits nothing": (
        '{"sets": {"prod": {"inherits": ["comon"]}, "common": {}}}',
        1,
        "did you mean 'common'?",
    ),
    "a circle": ('{"sets": {"a": {"inherits": ["b"]}, "b": {"inherits": ["a"]}}}', 1, "circle"),
    "root": ('{"user": "root"}', 1, "never runs as root"),
    "a number for a flag": ('{"allow_reveal": 1}', 1, "allow_reveal"),
    "a zero byte": ('{\n\n"allow_reveal": true\0}', 3, "zero byte"),
}


class Files(alone.AloneCase):
    tag = "files"

    def setUp(self):
        super().setUp()
        self.config_file = self.mayfly.root / "etc/mayfly/mayflyd.json"
        self.policy_file = self.mayfly.root / "etc/mayfly/policy.d/shop.json"
        self.mayfly.write_config()
        self.policy_file.write_text(json.dumps({"grants": [GRANT]}))
        self.done("policy", "reload")
        self.addCleanup(self.back_to_good)

    def back_to_good(self):
        self.mayfly.write_config()
        self.policy_file.write_text(json.dumps({"grants": [GRANT]}))
        self.assertIn("1 grant\n", self.done("policy", "reload"))

    def check_in_force(self):
        self.assertIn("grant web", self.done("policy", "show"))
        self.assertEqual(self.mayfly.status()["environment"], "prod")

    def write(self, file, text):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def test_a_policy_with_a_mistake_is_refused_and_the_old_one_stays(self):
        for what, (text, line, *words) in BAD_POLICIES.items():
            with self.subTest(what):
                self.write(self.policy_file, text)
                result = self.mayfly.cli("policy", "reload")
                said = result.stderr.decode()
                self.assertEqual(result.returncode, 1, said)
                for word in (f"{self.policy_file}:{line}: ", *words):
                    self.assertIn(word, said)
                self.check_in_force()
                check = self.mayfly.cli("policy", "check")
                self.assertEqual(check.returncode, 1)
                self.assertIn(f"{self.policy_file}:{line}: ", check.stderr.decode())

    def test_a_configuration_with_a_mistake_is_refused_and_the_old_one_stays(self):
        for what, (text, line, *words) in BAD_CONFIGS.items():
            with self.subTest(what):
                self.write(self.config_file, text)
                result = self.mayfly.cli("policy", "reload")
                said = result.stderr.decode()
                self.assertEqual(result.returncode, 1, said)
                for word in (f"{self.config_file}:{line}: ", *words):
                    self.assertIn(word, said)
                self.check_in_force()

    def test_check_says_the_same_and_starts_nothing(self):
        for what, (text, line, *words) in {
            **BAD_CONFIGS,
            "a policy": BAD_POLICIES["an unknown key of a grant"],
        }.items():
            with self.subTest(what):
                file = self.policy_file if what == "a policy" else self.config_file
                self.write(file, text)
                result = subprocess.run(
                    [self.mayfly.build / "daemon/mayflyd", "--check", "--root", self.mayfly.root],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(result.returncode, 1)
                for word in (f"{file}:{line}: ", *words):
                    self.assertIn(word, result.stdout + result.stderr)
                self.back_to_good()
        result = harness.run(self.mayfly.build / "daemon/mayflyd", "--check", "--root", self.mayfly.root)
        self.assertIn("3 sets, 1 grants", result.stdout)

    def test_files_that_cannot_be_trusted_or_read_are_named(self):
        other = self.policy_file.with_name("other.json")
        good = json.dumps({"grants": []})

        def world_writable():
            other.write_text(good)
            other.chmod(0o666)

        def too_large():
            other.write_text('{"grants": [], "note": "' + "n" * (5 << 20) + '"}')

        for what, make, words in (
            ("a directory", other.mkdir, "no regular file"),
            ("a pipe", lambda: os.mkfifo(other), "no regular file"),
            ("everybody's", world_writable, "every user may write to it"),
            ("too large", too_large, "limit"),
            ("a link to nowhere", lambda: other.symlink_to("/nonexistent"), "No such file"),
        ):
            with self.subTest(what):
                make()
                try:
                    self.says(self.mayfly.cli("policy", "reload"), 1, str(other), words)
                    self.check_in_force()
                finally:
                    other.rmdir() if other.is_dir() else other.unlink()
        other.write_text("x")
        other.rename(other.with_suffix(".bak"))  # only .json is read
        self.assertEqual(self.mayfly.cli("policy", "reload").returncode, 0)
        other.with_suffix(".bak").unlink()

    def test_mistakes_in_two_files_are_said_together(self):
        other = self.policy_file.with_name("another.json")
        other.write_text('{"grants": [{"name": "x"}]}')
        self.policy_file.write_text('{"grant": []}')
        said = self.mayfly.cli("policy", "reload").stderr.decode()
        self.assertIn(f"{other}:1: ", said)
        self.assertIn(f"{self.policy_file}:1: ", said)
        other.unlink()

    def test_what_only_a_restart_does_is_said_until_it_is_put_back(self):
        before = json.dumps(self.mayfly.config)
        self.assertNotIn("restart", self.mayfly.cli("policy", "reload").stderr.decode())
        engine = {**self.mayfly.config["engines"][0], "socket": "/elsewhere/docker.sock"}
        self.mayfly.config_with(engines=[engine], operator_group="nogroup")
        try:
            for _ in range(2):  # not only when it has just been changed
                said = self.mayfly.cli("policy", "reload")
                self.assertEqual(said.returncode, 0)
                self.assertIn(
                    "restart of mayflyd is needed for: engines and operator_group", (said.stdout + said.stderr).decode()
                )
        finally:
            self.mayfly.config = json.loads(before)
            self.mayfly.write_config()
        said = self.mayfly.cli("policy", "reload")
        self.assertNotIn("restart", (said.stdout + said.stderr).decode())

    def test_a_broker_that_starts_beside_a_broken_policy_says_so_and_keeps_the_configuration(self):
        self.done("put", "prod/kept", value=b"kept")
        self.policy_file.write_text('{"grants": [],\n"grant": []}')
        self.mayfly.restart()
        self.broker = self.mayfly.child("mayfly-broker")
        status = self.mayfly.status()
        self.assertEqual((status["environment"], status["grants"]), ("prod", 0))
        self.assertIn(f"{self.policy_file}:2: unknown key 'grant'", " ".join(status["problems"]))
        self.assertEqual(self.value_of("prod/kept"), b"kept")
        self.assertNotIn("names no environment", self.mayfly.cli("doctor").stdout.decode())
        self.assertEqual(self.mayfly.cli("status", "--check").returncode, 1)
        self.back_to_good()
        self.assertEqual(self.mayfly.status()["problems"], [])


class Start(harness.unittest.TestCase):
    """A configuration with a mistake at the start: nothing is started."""

    def test_a_start_says_file_line_and_the_nearest_word(self):
        harness.need(os.geteuid() == 0, "it needs root")
        mayfly = alone.Mayfly("badstart")
        self.addCleanup(mayfly.close)
        file = mayfly.root / "etc/mayfly/mayflyd.json"
        for what, (text, line, *words) in BAD_CONFIGS.items():
            with self.subTest(what):
                file.write_text(text)
                code, said = mayfly.start_badly()
                self.assertEqual(code, 1)
                for word in (f"{file}:{line}: ", *words, "the configuration cannot be used"):
                    self.assertIn(word, said)
        self.assertFalse((mayfly.root / "run/mayfly/operator.sock").exists())
        self.assertFalse(os.path.exists(f"/run/docker/plugins/{mayfly.plugin_names[0]}.sock"))
