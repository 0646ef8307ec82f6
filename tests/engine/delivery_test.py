"""What a container finds in its delivery: layouts, templates, versions, owners, sets, images that have files there."""
import base64
import json
import unittest

from delivery_watch import assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for


class DeliveryCase(EngineCase):
    def setUp(self):
        super().setUp()
        self.volume()

    def run_as(self, name, script, *options, image=IMAGE, target="/run/secrets", check=True):
        """What SCRIPT prints in a container NAME that has the volume."""
        return self.engine.docker("run", "--rm", "--network", "none", "--name", name, *options, "-v",
                                  f"secrets:{target}:ro", image, "sh", "-c", script, check=check).stdout

    def put(self, **values):
        """SET__NAME=VALUE; what is there already is staged."""
        for name, value in values.items():
            self.mayfly.put(name.replace("__", "/").replace("_", "-"), value, "--stage")


class Files(DeliveryCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/password", "pa ss/w\"ö\n")
        cls.mayfly.put("prod/user", "shop")

    def test_the_plain_layout_has_no_links_and_no_dot_directories(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "user", {"name": "password", "as": "deep/er/password"},
                                 layout="plain"))
        found = self.run_as("web", "cd /run/secrets; find . ; find . -type l; cat user deep/er/password", "-u", "1000")
        self.assertEqual(found, ".\n./user\n./deep\n./deep/er\n./deep/er/password\nshoppa ss/w\"ö\n")

    def test_a_template_filters_what_it_takes(self):
        text = "{{user}} {{password|url}} {{password|json}} {{password|base64}} {{user|url}}{not{{user|json}}"
        self.mayfly.policy(grant("web", {"container.name": "web"}, {"template": text, "as": "made/config"}))
        value = "pa ss/w\"ö\n"
        self.assertEqual(self.run_as("web", "cat /run/secrets/made/config"),
                         'shop pa%20ss%2Fw%22%C3%B6%0A ' + json.dumps(value, ensure_ascii=False)[1:-1] + " "
                         + base64.b64encode(value.encode()).decode() + ' shop{notshop')

    def test_the_previous_version_stands_beside_the_current_one(self):
        self.mayfly.put("prod/token", "one", "--stage")
        self.mayfly.policy(grant("web", {"container.name": "web*"}, {"name": "token", "versions": ["current", "previous"]}))
        self.assertEqual(self.run_as("web-first", "ls /run/secrets"), "token\n", "there is no earlier version yet")
        self.mayfly.put("prod/token", "two", "--stage")
        self.engine.container("--name", "web-old", "-v", "secrets:/s:ro", IMAGE, "sleep", "300")
        self.mayfly.put("prod/token", "three", "--stage")
        self.assertEqual(self.run_as("web-new", "cat token; echo; cat token.previous", "-w", "/run/secrets"),
                         "three\ntwo")
        self.assertEqual(self.engine.exec("web-old", "cat", "/s/token", "/s/token.previous").stdout, "twoone",
                         "what was staged is for containers that start from then on")

    def test_with_guard_always_every_open_is_recorded(self):
        self.mayfly.policy(grant("web", {"container.name": "web-asked"}, "user", guard="always"))
        self.engine.container("--name", "web-asked", "-v", "secrets:/s:ro", IMAGE, "sleep", "300")
        for _ in range(3):
            self.assertEqual(self.engine.exec("web-asked", "cat", "/s/user").stdout, "shop")
        opens = [r for r in self.mayfly.audit("--container", "web-asked") if r["action"] == "open"]
        self.assertEqual([r["decision"] for r in opens], ["granted"] * 3)
        self.assertRegex(opens[0]["reason"], "open by process [0-9]+ allowed")

    def test_without_it_none_is(self):
        self.mayfly.policy(grant("web", {"container.name": "web-unasked"}, "user"))
        self.engine.container("--name", "web-unasked", "-v", "secrets:/s:ro", IMAGE, "sleep", "300")
        for _ in range(3):
            self.assertEqual(self.engine.exec("web-unasked", "cat", "/s/user").stdout, "shop")
        actions = {r["action"] for r in self.mayfly.audit("--container", "web-unasked")}
        self.assertEqual(actions, {"mount", "release"})

    def test_the_owner_is_the_containers_user_as_its_own_passwd_file_names_it(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "user"))
        self.engine.docker("build", "-t", "mayfly-test:user", "-", input=f"FROM {IMAGE}\nUSER app\n")
        for options, image, owner in ((("-u", "app"), IMAGE, "1000 1001"), (("-u", "app:root"), IMAGE, "1000 0"),
                                      (("-u", "1000"), IMAGE, "1000 1001"), (("-u", "77:88"), IMAGE, "77 88"),
                                      (("-u", ":web"), IMAGE, "0 1001"), ((), IMAGE, "0 0"),
                                      ((), "mayfly-test:user", "1000 1001")):
            with self.subTest(options=options, image=image):
                told = self.run_as("web", "stat -L -c '%u %g' /run/secrets/user; id -u; cat /run/secrets/user", *options,
                                   image=image)
                self.assertEqual(told, f"{owner}\n{owner.split()[0]}\nshop")

    def test_a_hardened_container_that_policy_asks_for_has_its_files(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "user", require={
            "non_root": True, "read_only_root": True, "capabilities_dropped": True, "no_new_privileges": True,
            "pids_limit": True, "memory_limit": True}))
        self.assertEqual(self.run_as("web", "cat /run/secrets/user", "-u", "1000", "--read-only", "--cap-drop", "ALL",
                                     "--security-opt", "no-new-privileges", "--pids-limit", "50", "-m", "64m"), "shop")

    def test_two_volumes_of_one_container_are_two_deliveries(self):
        self.volume("other")
        self.mayfly.policy(grant("one", {"container.name": "web", "volume.name": "secrets"}, "user"),
                           grant("two", {"container.name": "web", "volume.name": "other"}, "password"))
        self.assertEqual(self.run_as("web", "ls /run/secrets /other; stat -c %d /run/secrets /other", "-v", "other:/other")
                         .split()[:4], ["/other:", "password", "/run/secrets:", "user"])
        assert_nothing_stale(self, self.mayfly)

    def test_one_volume_at_two_places_of_one_container(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "user"))
        self.assertEqual(self.run_as("web", "cat /run/secrets/user /again/user", "-v", "secrets:/again:ro"), "shopshop")
        assert_nothing_stale(self, self.mayfly)

    def test_128_files_of_one_grant(self):
        secrets = [{"name": "user", "as": f"file-{number}"} for number in range(128)]
        self.mayfly.policy(grant("web", {"container.name": "web"}, *secrets))
        self.assertEqual(self.run_as("web", "cat /run/secrets/file-*"), "shop" * 128)

    def test_a_value_of_1_MiB_arrives_whole(self):
        value = ("0123456789abcde\n" * 65536)
        self.assertEqual(len(value), 1 << 20)
        self.mayfly.mayfly("put", "prod/large", input=value)
        self.mayfly.policy(grant("web", {"container.name": "web"}, "large"))
        self.assertEqual(self.run_as("web", "cat /run/secrets/large", "-m", "64m"), value)


class Sets(DeliveryCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for set_name in ("dev", "prod"):
            cls.mayfly.put(f"{set_name}/password", f"of {set_name}")
        cls.mayfly.put("common/shared", "of common")
        cls.mayfly.put("dev/only-dev", "of dev")
        cls.mayfly.put("prod/shadow", "of prod")
        cls.mayfly.put("common/shadow", "of common")

    def set_environment(self, name):
        self.mayfly.config["environment"] = name
        self.mayfly.write_config()
        self.assertNotIn("restart", self.mayfly.mayfly("policy", "reload").stderr, "that needs none")

    def test_the_hosts_environment_decides_and_inherits(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "password", "shared", "shadow"))
        self.addCleanup(self.set_environment, "prod")
        self.assertEqual(self.run_as("web", "cd /run/secrets; cat password shared shadow"), "of prodof commonof prod")
        self.set_environment("dev")
        self.assertEqual(self.run_as("web", "cd /run/secrets; cat password shared shadow"), "of devof commonof common")

    def test_a_grant_with_a_set_sees_no_other(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "password", "only-dev", "shared", set="dev"))
        self.assertEqual(self.run_as("web", "cd /run/secrets; cat password only-dev shared"), "of devof devof common")
        self.mayfly.policy(grant("web", {"container.name": "web"}, "only-dev", set="prod"))
        refused = self.engine.docker("run", "--rm", "--network", "none", "--name", "web", "-v", "secrets:/s", IMAGE,
                                     "true", check=False)
        self.assertIn("mayfly: grant web: prod/only-dev does not exist (dev/only-dev does); "
                      "run `mayfly put prod/only-dev`", refused.stderr)


class ImageWithFiles(DeliveryCase):
    """The image has files where the secrets will be: `docker create` mounts, to copy them into an empty volume."""

    IMAGE_WITH_FILES = "mayfly-test:files"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

        def add_files(root):
            (root / "run/secrets/directory").mkdir(parents=True)
            (root / "run/secrets/of-the-image").write_text("image")
            (root / "run/secrets/user").write_text("default of the image")

        cls.engine.import_image(cls.IMAGE_WITH_FILES, add_files)
        cls.mayfly.put("prod/user", "shop")
        cls.mayfly.policy(grant("web", {"container.name": "web*"}, "user"))

    def test_create_gets_a_stand_in_and_the_start_gets_the_secret(self):
        self.engine.docker("create", "--network", "none", "--name", "web", "-v", "secrets:/run/secrets:ro",
                           self.IMAGE_WITH_FILES, "sh", "-c", "ls -A /run/secrets; cat /run/secrets/user")
        assert_nothing_stale(self, self.mayfly)
        self.assertEqual(self.engine.docker("start", "-a", "web").stdout, "..a\n..data\nuser\nshop")
        assert_nothing_stale(self, self.mayfly)

    def test_run_creates_and_starts(self):
        for options in ((), ("--read-only", "-u", "1000", "--cap-drop", "ALL")):
            self.assertEqual(self.run_as("web", "ls /run/secrets; cat /run/secrets/user", *options,
                                         image=self.IMAGE_WITH_FILES), "user\nshop")

    def test_a_container_without_a_grant_sees_neither_secret_nor_a_writable_volume(self):
        self.engine.docker("create", "--network", "none", "--name", "other", "-v", "secrets:/run/secrets",
                           self.IMAGE_WITH_FILES, "ls", "/run/secrets")
        refused = self.engine.docker("start", "-a", "other", check=False)
        self.assertIn("mayfly: no grant matches other", refused.stderr)
        assert_nothing_stale(self, self.mayfly)

    def test_copying_out_of_it_gives_no_secret(self):
        self.engine.docker("create", "--network", "none", "--name", "web", "-v", "secrets:/run/secrets",
                           self.IMAGE_WITH_FILES, "sleep", "300")
        for when in ("created", "running", "stopped"):
            with self.subTest(when=when):
                if when == "running":
                    self.engine.docker("start", "web")
                    wait_for(lambda: self.mayfly.explain("web")["outcome"] == "granted", "released")
                if when == "stopped":
                    self.engine.docker("stop", "-t", "0", "web")
                for path in ("/run/secrets", "/run/secrets/user", "/run/secrets/..data/user"):
                    copied = self.engine.docker("cp", f"web:{path}", "-", check=False, timeout=30)
                    self.assertNotIn("shop", copied.stdout)
        self.assertEqual(self.engine.docker("start", "web").returncode, 0)
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/user").stdout, "shop")


if __name__ == "__main__":
    unittest.main()
