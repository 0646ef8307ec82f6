"""The volume driver as the engine and its users see it: options that narrow and rename, definitions that stay, requests
that the engine repeats."""
import json
import socket
import unittest

from delivery_watch import assert_nothing_stale
from harness import IMAGE, EngineCase, grant


class VolumeCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("db-password", "api-key", "other"):
            cls.mayfly.put(f"prod/{name}", f"value of {name}")
        cls.mayfly.policy(
            grant("web", {"container.name": "web*"}, "db-password", {"name": "api-key", "as": "keys/api", "mode": "0440"}),
            grant("web-too", {"container.label.too": "yes"}, "other"))

    def run_web(self, volume, *options, check=True):
        return self.engine.docker("run", "--rm", "--network", "none", "--name", "web", *options, "-v",
                                  f"{volume}:/run/secrets:ro", IMAGE, "sh", "-c",
                                  "cd /run/secrets; find . -name '..*' -prune -o -type l -print | sort; "
                                  "for f in $(find ..data/ -type f); do stat -c '%u %g %a %n' $f; cat $f; echo; done",
                                  check=check)

    def files(self, volume, *options):
        """{path: (owner and mode, content)} of a container with VOLUME, without the description."""
        lines = self.run_web(volume, *options).stdout.split("\n")
        found = {}
        for number, line in enumerate(lines):
            words = line.split()
            if len(words) == 4 and words[3].startswith("..data/") and not words[3].endswith(".mayfly.json"):
                found[words[3][len("..data/"):]] = (" ".join(words[:3]), lines[number + 1])
        return found

    def refusal(self, volume, *options):
        result = self.run_web(volume, *options, check=False)
        self.assertNotEqual(result.returncode, 0)
        return result.stderr

    def create(self, name, *options):
        words = [word for option in options for word in ("-o", option)]
        result = self.engine.docker("volume", "create", "-d", self.plugin, *words, name, check=False)
        self.engine.known_volumes.append(name)
        return result

    def call(self, endpoint, body=None, raw=None):
        """(status, answer) of the plugin's socket; (None, None) when it hangs up."""
        data = raw if raw is not None else json.dumps(body).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(f"/run/docker/plugins/{self.plugin}.sock")
            connection.sendall(f"POST /{endpoint} HTTP/1.1\r\nHost: plugin.moby.localhost\r\nContent-Length: {len(data)}"
                               "\r\nConnection: close\r\n\r\n".encode() + data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        if not answer:
            return None, None
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


class Options(VolumeCase):
    def test_without_options_a_container_gets_all_that_its_grants_give(self):
        self.create("all")
        self.assertEqual(self.files("all"), {"db-password": ("0 0 400", "value of db-password"),
                                             "keys/api": ("0 0 440", "value of api-key")})
        self.assertEqual(sorted(self.files("all", "--label", "too=yes")), ["db-password", "keys/api", "other"])

    def test_grant_narrows_to_one_grant(self):
        self.create("narrow", "grant=web-too")
        self.assertEqual(self.files("narrow", "--label", "too=yes"), {"other": ("0 0 400", "value of other")})

    def test_grant_does_not_give_what_the_container_may_not_have(self):
        self.create("wide", "grant=web-too")
        self.assertIn("mayfly: grant web-too, which the volume's options name, does not match web; see "
                      "`mayfly explain web`", self.refusal("wide"))

    def test_a_grant_that_does_not_exist_is_refused_with_the_nearest_name(self):
        self.create("misspelt", "grant=wep")
        self.assertIn("mayfly: the volume's option `grant` names 'wep', which is no grant; did you mean 'web'?",
                      self.refusal("misspelt"))

    def test_files_chooses_renames_and_owns(self):
        self.create("chosen", "files=keys/api=plain:uid=7:gid=8:mode=0400")
        self.assertEqual(self.files("chosen"), {"plain": ("7 8 400", "value of api-key")})
        self.create("two", "files=db-password=a/b,keys/api")
        self.assertEqual(self.files("two"), {"a/b": ("0 0 400", "value of db-password"),
                                             "keys/api": ("0 0 440", "value of api-key")})

    def test_files_does_not_give_what_no_grant_gives(self):
        self.create("widened", "files=db-password,other")
        refused = self.refusal("widened")
        self.assertIn("mayfly: ", refused)
        self.assertIn("other", refused)

    def test_files_does_not_open_a_file_wider_than_the_grant(self):
        self.create("open", "files=keys/api:mode=0444")
        self.assertIn("mayfly: the volume's option `files` gives 'keys/api' the mode 0444, which is wider than 0440 in the "
                      "grant", self.refusal("open"))

    def test_an_unknown_option_is_refused_with_the_known_ones(self):
        for option, hint in (("grnt=web", "; did you mean 'grant'?"), ("size=10m", "")):
            result = self.create("unknown", option)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(f"mayfly: unknown option '{option.split('=')[0]}'{hint}; there are `grant` and `files`",
                          result.stderr)
        self.assertIn("no such volume", self.engine.docker("volume", "rm", "unknown", check=False).stderr.lower())

    def test_an_option_without_a_value_is_refused(self):
        for option in ("grant=", "files="):
            result = self.create("empty", option)
            self.assertIn(f"mayfly: option `{option[:-1]}` is empty", result.stderr)


class Definitions(VolumeCase):
    def test_inspect_shows_environment_and_grant_and_no_more(self):
        self.create("shown", "grant=web")
        shown = json.loads(self.engine.docker("volume", "inspect", "shown").stdout)[0]
        self.assertEqual((shown["Driver"], shown["Scope"], shown["Status"], shown["Options"]),
                         (self.plugin, "local", {"environment": "prod", "grant": "web"}, {"grant": "web"}))
        self.assertRegex(shown["CreatedAt"], "^[0-9-]{10}T[0-9:]{8}Z$")

    def test_create_again_with_the_same_options_is_fine_and_with_others_refused(self):
        self.create("once", "grant=web")
        self.assertEqual(self.create("once", "grant=web").returncode, 0)
        self.assertEqual(self.call("VolumeDriver.Create", {"Name": "once", "Opts": {"grant": "web"}}), (200, {"Err": ""}))
        status, answer = self.call("VolumeDriver.Create", {"Name": "once", "Opts": {"grant": "web-too"}})
        self.assertEqual(status, 500)
        self.assertIn("mayfly: ", answer["Err"])
        self.assertIn("remove", answer["Err"])
        self.assertEqual(sorted(self.files("once")), ["db-password", "keys/api"], "the first definition holds")

    def test_remove_and_create_with_other_options(self):
        self.create("again", "grant=web")
        self.engine.docker("volume", "rm", "again")
        self.create("again", "files=db-password")
        self.assertEqual(sorted(self.files("again")), ["db-password"])

    def test_a_volume_in_use_is_not_removed(self):
        self.create("used")
        self.engine.container("--name", "web", "-v", "used:/s", IMAGE, "sleep", "300")
        self.assertIn("in use", self.engine.docker("volume", "rm", "used", check=False).stderr)
        self.assertEqual(self.engine.exec("web", "cat", "/s/db-password").stdout, "value of db-password")

    def test_list_names_ours_beside_local_ones(self):
        self.create("ours")
        self.engine.docker("volume", "create", "theirs")
        self.engine.known_volumes.append("theirs")
        listed = self.engine.docker("volume", "ls", "--format", "{{.Driver}} {{.Name}}").stdout.split("\n")
        self.assertIn(f"{self.plugin} ours", listed)
        self.assertIn("local theirs", listed)

    def test_definitions_outlive_every_process_of_ours(self):
        self.create("durable", "files=db-password=renamed")
        self.mayfly.kill_all()
        self.mayfly.start()
        self.assertEqual(sorted(self.files("durable")), ["renamed"])
        assert_nothing_stale(self, self.mayfly)


class Repeated(VolumeCase):
    """The engine repeats a request whose connection broke, with an empty body."""

    def test_get_without_a_body_is_no_answer_so_the_engine_does_not_forget_the_volume(self):
        self.assertEqual(self.call("VolumeDriver.Get", raw=b""), (None, None))

    def test_everything_else_without_a_body_is_refused_with_the_reason(self):
        for endpoint in ("Create", "Remove", "Mount", "Unmount", "Path"):
            status, answer = self.call(f"VolumeDriver.{endpoint}", raw=b"")
            self.assertEqual((status, answer["Err"]),
                             (400, "mayfly: empty request (a retry after a broken connection)"), endpoint)

    def test_a_name_that_is_not_ours_is_an_error(self):
        status, answer = self.call("VolumeDriver.Get", {"Name": "stranger"})
        self.assertEqual((status, answer), (500, {"Err": "mayfly: no such volume"}))

    def test_get_works_while_the_store_is_locked(self):
        self.create("known")
        self.mayfly.mayfly("lock")
        self.addCleanup(lambda: (self.mayfly.stop(), self.mayfly.start()))
        status, answer = self.call("VolumeDriver.Get", {"Name": "known"})
        self.assertEqual((status, answer["Volume"]["Name"]), (200, "known"))


if __name__ == "__main__":
    unittest.main()
