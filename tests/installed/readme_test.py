"""README.md stays true: its commands are pasted at a terminal of a copy of this host, and do what it says."""
import json
import pathlib
import re
import unittest

from host import TREE, Host, Terminal

README = (TREE / "README.md").read_text(encoding="utf-8")
ANSWERS = {"Value of prod/db-password:": "correct horse battery", "The same again:": "correct horse battery", "Allow that? (y/N):": "y"}


def section(title):
    """The text below a heading."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)


def steps(text):
    """Commands of the console blocks in TEXT, each with the lines that it is said to print."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("# "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(line):
    """What a line of the README says about a line of output: `...` is anything, white space any white space."""
    return r"\s+".join(".*".join(map(re.escape, word.split("..."))) for word in line.split())


class Pasted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)
        cls.host.start()
        cls.host.copy_tree()
        cls.terminal = Terminal(cls.host)
        cls.addClassCleanup(cls.terminal.close)
        cls.terminal.paste("cd /root/mayfly")
        cls.paste(section("Install"))
        cls.paste(section("The first five minutes"))

    @classmethod
    def paste(cls, text):
        for command, expected in steps(text):
            status, printed = cls.terminal.paste(command, ANSWERS, timeout=300)
            if status != 0:
                raise AssertionError(f"exit status {status} from `{command}`:\n{printed}")
            position = 0
            for line in expected:
                found = re.compile(pattern(line)).search(printed, position)
                if not found:
                    raise AssertionError(f"`{command}` does not print `{line}` there:\n{printed}")
                position = found.end()

    def refusal(self, *options):
        result = self.host.run(f"docker volume create -d mayfly reasons >/dev/null; docker run --rm --name refused --network none {' '.join(options)} shop/web true", check=False)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        return result.stdout

    def assert_in_table(self, said, start):
        """SAID, the engine's error, is what a row of "When it says no" that begins with START tells."""
        rows = [row for row in re.findall(r"^\| `(.*?)` \|", section("When it says no"), re.M) if row.startswith(start)]
        self.assertEqual(len(rows), 1, f"one row begins with {start}")
        plain = re.sub(r"\b[A-Z]\b|\bNAME\b", "...", rows[0].replace("03:12", "..."))
        self.assertRegex(said.replace("`", ""), pattern(plain))

    def test_every_section_with_commands_was_pasted(self):
        self.assertGreater(len(steps(section("Install"))), 5)
        self.assertGreater(len(steps(section("The first five minutes"))), 15)

    def test_the_table_has_the_words_for_a_container_without_a_grant(self):
        # With the labels that Compose would give it.
        labels = "--label com.docker.compose.project=store --label com.docker.compose.service=web"
        self.assert_in_table(self.refusal(labels, "-v reasons:/run/secrets:ro"), "mayfly: no grant matches")

    def test_the_table_has_the_words_for_a_secret_that_is_missing(self):
        self.host.run("mayfly allow --name refused --secret nothing --grant missing --yes")
        self.addCleanup(self.host.run, "mayfly forbid missing --yes")
        said = self.refusal("-v reasons:/run/secrets:ro").replace("nothing", "db-password").replace("missing", "G")
        self.assert_in_table(said, "mayfly: grant G: prod/db-password does not exist")

    def test_the_table_has_the_words_for_a_container_in_the_wrong_posture(self):
        self.host.run("mayfly allow --name refused --secret db-password=other --grant posture --yes")
        self.addCleanup(self.host.run, "mayfly forbid posture --yes")
        self.assert_in_table(self.refusal("--pid host -v reasons:/run/secrets:ro"), "mayfly: grant G refuses a container")

    def test_the_table_has_the_words_for_a_locked_store(self):
        # Behind the two minutes after a boot, in which a start would wait.
        if float(pathlib.Path("/proc/uptime").read_text().split()[0]) < 125:
            self.skipTest("the machine has just booted")
        self.host.run("mayfly lock")
        self.addCleanup(self.host.run, "mayfly unlock")
        self.assert_in_table(self.refusal("-v reasons:/run/secrets:ro"), "mayfly: locked since")

    def test_the_lines_of_the_compose_example_work_when_pasted(self):
        # As on a host where nobody has done it yet.
        self.host.run("mayfly rm prod/db-password --purge --yes && mayfly rm prod/api-key --purge --yes && mayfly forbid shop-web --yes")
        self.terminal.paste("cd /root/mayfly && rm -rf shop")
        self.addCleanup(self.terminal.paste, "docker-compose down -v")
        self.paste((TREE / "examples/compose/README.md").read_text(encoding="utf-8"))
        self.host.run("until docker logs shop_web_1 2>&1 | grep 'a database password of 32 characters'; do sleep 0.1; done")

    def test_every_verb_that_is_named_exists(self):
        names = set(self.host.run("mayfly help --names").stdout.split("\n"))
        # `/mayfly` is the program inside of a container, with verbs of its own.
        named = set(re.findall(r"(?<!/)\bmayfly ((?:[a-z]+)(?: [a-z]+)?)", README))
        wrong = [name for name in named if name not in names and name.split()[0] not in names]
        self.assertEqual(wrong, [])

    def test_every_file_that_is_named_exists(self):
        for target in re.findall(r"\]\(([^)#]+)\)", README):
            self.assertTrue((TREE / target).exists(), target)
        for path in ("/etc/mayfly/mayflyd.json", "/etc/mayfly/policy.d", "/etc/mayfly/host.key", "/var/lib/mayfly/state.db", "/var/lib/mayfly/audit",
                     "/run/mayfly/operator.sock", "/run/docker/plugins/mayfly.sock", "/run/mayfly-volumes"):
            self.assertIn(path.removeprefix("/var/lib/mayfly/"), README)
            self.assertTrue((self.host.root / path.lstrip("/")).exists(), path)

    def test_the_docker_volume_is_what_inspect_says(self):
        self.host.run("docker volume create -d mayfly inspected")
        shown = json.loads(self.host.run("docker volume inspect inspected").stdout)
        self.assertEqual((shown[0]["Driver"], shown[0]["Scope"]), ("mayfly", "local"))
