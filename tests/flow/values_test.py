"""Values and names that are none, from the command line: each refused with what is wrong, and nothing else lost."""

import json
import os

import alone

MEBIBYTE = 1024 * 1024
BAD_NAMES = (
    "",
    "prod",
    "prod/",
    "/x",
    "//",
    "prod//x",
    "prod/.",
    "prod/..",
    "prod/../x",
    "prod/a/../b",
    "../prod/x",
    "prod/x/",
    "prod/a\nb",
    "prod/a b",
    "prod/.hidden",
    "prod/a/.b",
    "prod/-a",
    "prod/\u00e4",
    "prod/a:b",
    "prod/a\x1b[31mb",
    "Prod/x",
    "environment/x",
    "1prod/x",
    "prod_x/y",
    "p" * 64 + "/x",
    "prod/" + "a" * 251,
)


class Values(alone.AloneCase):
    tag = "values"

    def put(self, name, value, *arguments):
        return self.mayfly.cli("put", name, *arguments, value=value)

    def test_an_empty_value_is_refused(self):
        self.says(self.put("prod/empty", b""), 1, "the value is empty", "at least one byte")
        self.says(self.put("prod/empty", b"", "--exact"), 1, "the value is empty")
        self.says(self.put("prod/empty", b"\n"), 1, "empty but for a newline")
        self.says(self.put("prod/empty", b"", "--from-file", "/dev/null"), 1, "the value is empty")
        self.assertIsNone(self.value_of("prod/empty"))

    def test_a_mebibyte_is_stored_whole_and_one_byte_more_is_refused(self):
        value = os.urandom(MEBIBYTE)
        self.assertEqual(self.put("prod/large", value, "--exact").returncode, 0)
        self.assertEqual(self.value_of("prod/large"), value)
        self.says(self.put("prod/larger", value + b"x", "--exact"), 1, "longer than the limit of 1048576 bytes")
        self.assertIsNone(self.value_of("prod/larger"))
        self.assertEqual(self.value_of("prod/large"), value)

    def test_every_byte_comes_back_as_it_was(self):
        for i, value in enumerate(
            (
                bytes(range(256)),
                b"\0",
                b"\n\n",
                b"a\nb\n",
                b"\r\n",
                b"\xff" * 5000,
                b"ends in newline and is binary\0\n",
            )
        ):
            self.assertEqual(self.put(f"prod/bytes-{i}", value, "--exact").returncode, 0)
            self.assertEqual(self.value_of(f"prod/bytes-{i}"), value)

    def test_one_line_of_text_loses_one_newline_and_nothing_else_does(self):
        for i, (value, stored) in enumerate(
            (
                (b"line\n", b"line"),
                (b"line\r\n", b"line"),
                (b"line\n\n", b"line\n\n"),
                (b"a\nb\n", b"a\nb\n"),
                (b"line", b"line"),
                (b"\xff\n", b"\xff\n"),
            )
        ):
            result = self.put(f"prod/line-{i}", value)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(self.value_of(f"prod/line-{i}"), stored, value)
            self.assertEqual(b"left out" in result.stderr, value != stored, value)

    def test_names_that_are_none_are_refused_and_named(self):
        before = self.done("list")
        for name in BAD_NAMES:
            for verb in (("put",), ("generate",), ("show",), ("remove", "--yes")):
                with self.subTest(f"{verb[0]} {name[:20]!r}"):
                    text = self.says(self.mayfly.cli(*verb, name, value=b"value"), 2, "mayfly: ")
                    self.assertTrue(text.isascii() and text.replace("\n", "").isprintable(), text)
                    self.assertNotIn(
                        "''", text.replace("'' is no secret", "")
                    )  # it is said of what was typed, not of a part
        self.assertEqual(self.done("list"), before)

    def test_the_longest_names_are_taken(self):
        name = "prod/" + "n" * 250
        self.assertEqual(self.put(name, b"long name").returncode, 0)
        self.assertEqual(self.value_of(name), b"long name")
        self.assertIn(name, self.done("list", "prod"))

    def test_an_unknown_set_is_refused_with_the_nearest(self):
        text = self.says(
            self.put("prodd/x", b"value"), 1, "there is no set 'prodd'; did you mean prod?", "mayfly set create"
        )
        self.assertEqual(len(text.splitlines()), 2)
        self.says(self.put("quite-another/x", b"value"), 1, "there is no set 'quite-another'\n")
        self.assertNotIn("prodd", self.done("set", "list"))

    def test_other_bytes_under_a_name_are_refused_without_stage(self):
        self.put("prod/once", b"first")
        self.says(self.put("prod/once", b"second"), 1, "prod/once has another value already", "--stage")
        self.assertEqual(self.value_of("prod/once"), b"first")
        self.assertIn("unchanged", self.done("put", "prod/once", value=b"first"))
        self.done("put", "prod/once", "--stage", value=b"second")
        self.assertEqual(self.value_of("prod/once"), b"second")

    def test_a_file_that_is_not_there_or_no_file_is_named(self):
        self.says(
            self.put("prod/never", None, "--from-file", "/nonexistent/file"), 1, "/nonexistent/file", "No such file"
        )
        self.says(self.put("prod/never", None, "--from-file", "/etc"), 1, "'/etc' is a directory")
        self.assertIsNone(self.value_of("prod/never"))

    def test_a_value_on_the_command_line_is_refused_and_not_repeated(self):
        text = self.says(self.mayfly.cli("put", "prod/argument", "sesame-4711"), 2)
        self.assertNotIn("sesame", text)
        self.assertIsNone(self.value_of("prod/argument"))

    def test_numbers_beyond_their_limits_are_refused(self):
        for words in (
            ("generate", "prod/n", "--length", "0"),
            ("generate", "prod/n", "--length", "4097"),
            ("generate", "prod/n", "--length", "-1"),
            ("generate", "prod/n", "--bytes", "99999999999999999999"),
            ("generate", "prod/n", "--length", "x"),
            ("keep", "prod/n", "0"),
            ("keep", "prod/n", "101"),
            ("keep", "prod/n", "1e1"),
        ):
            with self.subTest(words):
                result = self.mayfly.cli(*words)
                self.assertIn(result.returncode, (1, 2), words)
                self.assertTrue(result.stderr)
        self.says(self.mayfly.cli("generate", "prod/n", "--charset", "a"), 2, "two characters")
        self.assertIsNone(self.value_of("prod/n"))

    def test_more_versions_than_are_kept_lose_the_oldest_only(self):
        self.done("put", "prod/many", value=b"value 0")
        self.done("keep", "prod/many", "3", "--yes")
        for i in range(1, 6):
            self.done("put", "prod/many", "--stage", value=f"value {i}".encode())
        self.assertEqual(
            [v["number"] for v in json.loads(self.done("history", "prod/many", "--json"))["versions"]], [6, 5, 4]
        )
        self.assertEqual(self.mayfly.cli("reveal", "prod/many", "--version", "4").stdout, b"value 3")
        self.says(self.mayfly.cli("reveal", "prod/many", "--version", "3"), 1, "prod/many")

    def test_a_thousand_names_are_listed_whole(self):
        with self.mayfly.operator() as operator:
            for i in range(1000):
                operator.call("Generate", name=f"dev/many/{i}")
        names = [s["name"] for s in json.loads(self.done("list", "dev", "--json"))["secrets"]]
        self.assertEqual(sorted(names), sorted(f"dev/many/{i}" for i in range(1000)))
        self.assertEqual(len(self.done("list", "dev").splitlines()), 1001)
