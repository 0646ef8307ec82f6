"""Imports: of a file of variables, JSON, a directory; what they change, what not, and what they say still lies about."""

import json
import pathlib
import tempfile
import unittest

import alone

ENV = """# of the shop
export DB_PASSWORD='correct horse # battery'
API_KEY="line\\n$DB_PASSWORD"
PORT=8080
EMPTY=
HOME
"""


class Import(alone.AloneCase):
    tag = "im"

    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="mayfly-flow-")))
        for name in json.loads(self.done("list", "prod", "--json"))["secrets"]:
            self.done("remove", name["name"], "--purge", "--yes")

    def file(self, name, content):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def names(self):
        return [secret["name"] for secret in json.loads(self.done("list", "prod", "--json"))["secrets"]]

    def test_a_file_of_variables_becomes_secrets_and_what_still_lies_about_is_listed(self):
        path = self.file(".env", ENV)
        self.file("compose.yaml", "environment: { PASSWORD: 'correct horse # battery' }")
        self.file("unrelated", "nothing of it")
        (self.directory / ".git").mkdir()
        said = self.done("import", path, "--set", "prod")
        self.assertEqual(self.names(), ["prod/API_KEY", "prod/DB_PASSWORD", "prod/PORT"])
        self.assertEqual(self.value_of("prod/DB_PASSWORD"), b"correct horse # battery")
        self.assertEqual(self.value_of("prod/API_KEY"), b"line\ncorrect horse # battery")
        for words in (
            "left out: line 5: EMPTY is empty",
            "left out: line 6: a name without a value",
            f"{path}: DB_PASSWORD",
            f"{self.directory}/compose.yaml: DB_PASSWORD",
            "a git work tree",
        ):
            self.assertIn(words, said)
        self.assertNotIn("unrelated", said)
        self.assertNotIn("correct horse", said)
        self.assertEqual(path.read_text(), ENV)

    def test_a_dry_run_changes_nothing_and_says_what_would_be(self):
        path = self.file(".env", ENV)
        self.done("put", "prod/PORT", value=b"8080")
        records = len(self.mayfly.audit("--action", "put"))
        said = self.done("import", path, "--set", "prod", "--dry-run")
        self.assertIn("prod/DB_PASSWORD: created", said)
        self.assertIn("prod/PORT: unchanged", said)
        self.assertIn("Nothing was changed", said)
        self.assertIn("Plain text that still lies about", said)
        self.assertEqual(self.names(), ["prod/PORT"])
        self.assertEqual(len(self.mayfly.audit("--action", "put")), records)
        answer = json.loads(self.done("import", path, "--set", "prod", "--dry-run", "--json"))
        self.assertTrue(answer["dry_run"])
        self.assertIn({"name": "prod/PORT", "outcome": "unchanged"}, answer["secrets"])

    def test_another_value_under_one_name_stops_all_of_it_and_again_is_unchanged(self):
        path = self.file(".env", ENV)
        self.done("put", "prod/PORT", value=b"9090")
        result = self.mayfly.cli("import", path, "--set", "prod")
        self.says(result, 1, "1 of 3 have another value already: nothing was imported", "--stage")
        self.assertEqual(self.names(), ["prod/PORT"])
        self.done("import", path, "--set", "prod", "--only", "DB_PASSWORD")
        self.assertEqual(self.names(), ["prod/DB_PASSWORD", "prod/PORT"])
        self.assertIn("prod/PORT: staged", self.done("import", path, "--set", "prod", "--stage"))
        self.assertEqual(self.value_of("prod/PORT"), b"8080")
        said = self.done("import", path, "--set", "prod")
        self.assertEqual(said.count(": unchanged"), 3)

    def test_json_and_directories(self):
        path = self.file("s.json", json.dumps({"smtp": {"user": "u", "port": 25}, "key": "a\u00e9b"}))
        self.done("import", path, "--set", "prod")
        self.assertEqual(self.value_of("prod/smtp/user"), b"u")
        self.assertEqual(self.value_of("prod/smtp/port"), b"25")
        self.assertEqual(self.value_of("prod/key"), "a\u00e9b".encode())
        self.file("secrets/tls/server.key", b"-----\nx\n-----\n")
        self.file("secrets/token", b"abcdef\n")
        self.file("secrets/.hidden", b"x")
        self.file("secrets/empty", b"")
        self.file("beside", b"abcdef")
        (self.directory / "secrets/link").symlink_to("token")
        (self.directory / "secrets/away").symlink_to("/etc")
        said = self.done("import", self.directory / "secrets/", "--set", "prod")
        self.assertEqual(self.value_of("prod/tls/server.key"), b"-----\nx\n-----\n")
        self.assertEqual(self.value_of("prod/token"), b"abcdef")
        self.assertEqual(self.value_of("prod/link"), b"abcdef")
        self.assertEqual(len(self.names()), 6)
        self.assertIn("secrets/empty: it is empty", said)
        self.assertIn("secrets/away: it is no file", said)
        self.assertIn("all of it", said)
        self.assertIn(f"{self.directory}/beside: link, token", said)

    def test_mistakes_change_nothing_and_do_not_repeat_what_the_file_says(self):
        for name, content, *words in (
            (".env", 'A=1\nB="canary\n', "line 2", "has no end"),
            (".env", "A=1\nB=$canary\n", "line 2", "does not set before", "single quotes"),
            (".env", "A=1\n_canary=2\n", "line 2", "no secret can have this name", "--only"),
            (".env", "", "is empty"),
            (".env", "A=\n", "no value to import"),
            ("x.json", '{"a": "1", "canary": ["x"]}', "line 1", "a list is no value"),
            ("x.json", '{"a": "1"', "has no end"),
            ("big", "A=" + "x" * (1 << 20), "longer than the limit"),
        ):
            with self.subTest(name, content=content[:30]):
                text = self.says(self.mayfly.cli("import", self.file(name, content), "--set", "prod"), 1, *words)
                self.assertNotIn("canary", text)
                self.assertEqual(self.names(), [])
        path = self.file(".env", ENV)
        self.says(self.mayfly.cli("import", path), 2, "into which set?")
        self.says(self.mayfly.cli("import", path, "--set", "none"), 1, "there is no set 'none'")
        self.says(self.mayfly.cli("import", path, "--set", "prod", "--only", "OTHER"), 1, "has no OTHER")
        self.says(self.mayfly.cli("import", self.directory / "none", "--set", "prod"), 1, "No such file")
        self.assertEqual(self.names(), [])

    def test_standard_input_and_a_file_of_another_name(self):
        self.done("import", "-", "--set", "prod", "--format", "json", value=b'{"A": "1"}')
        self.done("import", "-", "--set", "prod", value=b"B=2\n")
        self.done("import", self.file("x.json.txt", '{"C": "3"}'), "--set", "prod", "--format", "json")
        self.assertEqual(self.names(), ["prod/A", "prod/B", "prod/C"])


if __name__ == "__main__":
    unittest.main()
