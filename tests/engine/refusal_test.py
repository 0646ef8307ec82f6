"""What people read when it says no: in docker run's own error, and in explain. Users learn the product from these lines."""
import re
import unittest

from delivery_watch import assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for


class RefusalCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", "correct horse")
        cls.mayfly.put("dev/only-dev", "x")
        cls.web = grant("shop-web", {"container.name": "shop-web*"}, "db-password")
        cls.mayfly.policy(cls.web)

    def setUp(self):
        super().setUp()
        self.volume()
        self.addCleanup(self.mayfly.policy, self.web)

    def start(self, name="shop-web-1", *options, image=IMAGE, command=("true",), check=False):
        return self.engine.docker("run", "--network", "none", "--name", name, *options, "-v", "secrets:/run/secrets:ro",
                                  image, *command, check=check)

    def refusal(self, name="shop-web-1", *options, **more):
        """The words of Mayfly's in the engine's error."""
        self.engine.docker("rm", "-f", name, check=False)
        result = self.start(name, *options, **more)
        self.assertNotEqual(result.returncode, 0, result.stdout)
        words = re.search(r"VolumeDriver\.Mount: (mayfly: .*?)\.?$", result.stderr, re.MULTILINE)
        self.assertTrue(words, result.stderr)
        return words.group(1)

    def evidence(self, decision, outcome):
        return [step["evidence"] for step in decision["steps"] if step["outcome"] == outcome]


class Grants(RefusalCase):
    def test_no_grant(self):
        self.assertEqual(self.refusal("stranger"), "mayfly: no grant matches stranger; see `mayfly explain stranger`")
        labels = ("--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web")
        self.assertEqual(self.refusal("stranger", *labels),
                         "mayfly: no grant matches stranger (project shop, service web); see `mayfly explain stranger`")
        decision = self.mayfly.explain("stranger")
        self.assertEqual(decision["outcome"], "refused")
        self.assertIn("grant shop-web (test.json:1): container.name is 'stranger', wanted 'shop-web*'",
                      self.evidence(decision, "failed"))
        self.assertEqual(self.mayfly.explain(), decision, "without a name: the newest refusal")
        refused = self.mayfly.audit("--refused", "--container", "stranger")
        self.assertEqual({r["action"] for r in refused}, {"mount"})
        assert_nothing_stale(self, self.mayfly)

    def test_a_secret_that_does_not_exist(self):
        self.mayfly.policy(grant("shop-web", {"container.name": "shop-web*"}, "missing"))
        self.assertEqual(self.refusal(),
                         "mayfly: grant shop-web: prod/missing does not exist; run `mayfly put prod/missing`")
        self.mayfly.policy(grant("shop-web", {"container.name": "shop-web*"}, "only-dev"))
        self.assertEqual(self.refusal(), "mayfly: grant shop-web: prod/only-dev does not exist (dev/only-dev does); "
                                         "run `mayfly put prod/only-dev`")

    def test_a_removed_secret(self):
        self.mayfly.put("prod/gone", "x")
        self.mayfly.mayfly("remove", "prod/gone", "--yes")
        self.mayfly.policy(grant("shop-web", {"container.name": "shop-web*"}, "gone"))
        self.assertIn("mayfly: grant shop-web: prod/gone", self.refusal())
        self.mayfly.mayfly("undelete", "prod/gone")
        self.assertEqual(self.start("shop-web-2").returncode, 0)

    def test_a_broken_policy_file_keeps_the_one_in_force(self):
        path = self.mayfly.root / "etc/mayfly/policy.d/test.json"
        good = path.read_text()
        self.addCleanup(path.write_text, good)
        path.write_text(good.replace('"container.name"', '"container.nam"'))
        result = self.mayfly.mayfly("policy", "reload", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{path}:1: ", result.stderr)
        self.assertIn("container.name", result.stderr)
        self.assertEqual(self.start("shop-web-2").returncode, 0)


class Posture(RefusalCase):
    def test_each_default_requirement_is_refused_in_its_own_words(self):
        socket = self.engine.socket
        for options, words in (
                (("--privileged",), "a privileged container; remove `privileged: true`"),
                (("--pid", "host"), "a container in a namespace of the host; remove `pid: host`, `ipc: host` or "
                                    "`cgroup: host`"),
                (("--ipc", "host"), "a container in a namespace of the host; remove `pid: host`, `ipc: host` or "
                                    "`cgroup: host`"),
                (("--cap-add", "SYS_ADMIN"), "a container with CAP_SYS_ADMIN; remove `SYS_ADMIN` or `ALL` from `cap_add`, "
                                             "and `privileged: true`"),
                (("-v", f"{socket}:/var/run/docker.sock"), "a container that has the engine's socket; remove that mount"),
                (("-v", f"{self.engine.directory}:/host"), "a container that has the engine's socket; remove that mount")):
            with self.subTest(options=options):
                self.assertEqual(self.refusal("shop-web-1", *options), f"mayfly: grant shop-web refuses {words}")

    def test_each_named_requirement_is_refused_with_what_to_set(self):
        for key, words in (
                ("non_root", "a container whose user is root or unknown; set `user:` to another user's number"),
                ("read_only_root", "a container whose root file system is writable; set `read_only: true`"),
                ("capabilities_dropped", "a container that keeps the engine's capabilities; set `cap_drop: [ALL]`"),
                ("no_new_privileges", "a container whose programs can gain privileges; set "
                                      "`security_opt: [no-new-privileges:true]`"),
                ("pids_limit", "a container without a limit of processes; set `pids_limit:`"),
                ("memory_limit", "a container without a limit of memory; set `mem_limit:`")):
            with self.subTest(key=key):
                self.mayfly.policy(grant("shop-web", {"container.name": "shop-web*"}, "db-password", require={key: True}))
                self.assertEqual(self.refusal(), f"mayfly: grant shop-web refuses {words}")

    def test_an_image_of_another_digest(self):
        image_id = self.engine.docker("image", "inspect", "-f", "{{.Id}}", IMAGE).stdout.strip()
        right = grant("shop-web", {"container.name": "shop-web*"}, "db-password", require={"image.digest": image_id})
        self.mayfly.policy(right)
        self.assertEqual(self.start("shop-web-2").returncode, 0)
        self.engine.docker("build", "-t", "mayfly-test:other", "-", input=f"FROM {IMAGE}\nLABEL other=yes\n")
        self.assertEqual(self.refusal(image="mayfly-test:other"),
                         "mayfly: grant shop-web refuses an image of another digest; run the image that the grant names, or "
                         "change `image.digest` in the grant")

    def test_what_a_grant_allows_is_not_refused(self):
        self.mayfly.policy(grant("shop-web", {"container.name": "shop-web*"}, "db-password",
                                 require={"sys_admin": "allow", "host_namespaces": "allow"}))
        result = self.start("shop-web-2", "--cap-add", "SYS_ADMIN", "--pid", "host", check=True,
                            command=("cat", "/run/secrets/db-password"))
        self.assertEqual(result.stdout, "correct horse")


class Locked(RefusalCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.unlock)
        self.mayfly.mayfly("lock")

    def unlock(self):
        return self.mayfly.mayfly("unlock")

    def test_a_start_is_refused_with_what_to_do(self):
        self.assertRegex(self.refusal(), "^mayfly: locked since [0-9]{2}:[0-9]{2}; run `mayfly unlock`, then "
                                         "`docker start shop-web-1`$")
        self.assertEqual(self.mayfly.explain("shop-web-1")["outcome"], "refused")
        self.assertEqual(self.mayfly.status()["refused_while_locked"], ["shop-web-1"])

    def test_unlock_prints_one_line_that_starts_all_that_were_refused(self):
        for number in (1, 2, 1):
            self.refusal(f"shop-web-{number}")
        self.start("shop-web-gone", "--rm")
        wait_for(lambda: "shop-web-gone" not in self.engine.docker("ps", "-a", "--format", "{{.Names}}").stdout, "removed")
        wait_for(lambda: "shop-web-gone" not in self.mayfly.status()["refused_while_locked"], "it is not waited for")
        printed = self.unlock().stdout
        line = re.search("^  (docker start .*)$", printed, re.MULTILINE)
        self.assertTrue(line, printed)
        self.assertEqual(line.group(1), "docker start shop-web-2 shop-web-1")
        self.engine.docker(*line.group(1).split()[1:])
        wait_for(lambda: self.mayfly.explain("shop-web-1")["outcome"] in ("granted", "ended"), "it has its files")
        self.assertEqual(self.mayfly.status()["refused_while_locked"], [])

    def test_running_containers_keep_what_they_have(self):
        self.unlock()
        self.engine.container("--name", "shop-web-1", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "300")
        self.mayfly.mayfly("lock")
        self.assertEqual(self.engine.exec("shop-web-1", "cat", "/run/secrets/db-password").stdout, "correct horse")

    def test_the_operator_is_told_the_same(self):
        result = self.mayfly.mayfly("put", "prod/x", input="x", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "locked since [0-9]{2}:[0-9]{2}; run `mayfly unlock`")
        status = self.mayfly.mayfly("status", "--check", check=False)
        self.assertEqual(status.returncode, 2)
        self.assertIn("MAYFLY CRITICAL - locked", status.stdout)

    def test_the_volume_is_known_all_the_same(self):
        shown = self.engine.docker("volume", "inspect", "-f", "{{.Driver}}", "secrets").stdout.strip()
        self.assertEqual(shown, self.plugin)


class Explain(RefusalCase):
    def test_it_explains_who_runs_who_has_ended_and_who_is_gone(self):
        container = self.engine.container("--name", "shop-web-1", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "300")
        wait_for(lambda: self.mayfly.explain("shop-web-1")["outcome"] == "granted", "granted")
        text = self.mayfly.mayfly("explain", "shop-web-1").stdout
        for words in ("shop-web-1: granted", "every term holds", "delivery found at /run/secrets", "1 value fetched"):
            self.assertIn(words, " ".join(text.split()))
        for reference in (container, container[:12]):
            self.assertEqual(self.mayfly.explain(reference)["container"], "shop-web-1")
        self.engine.docker("kill", "shop-web-1")
        wait_for(lambda: self.mayfly.explain("shop-web-1")["outcome"] == "ended", "ended")
        self.engine.docker("rm", "shop-web-1")
        decision = self.mayfly.explain("shop-web-1")
        self.assertEqual((decision["outcome"], decision["summary"]), ("ended", "the container has ended"))
        self.assertIn("release", [step["step"] for step in decision["steps"]], "and what it got is still there")

    def test_it_says_when_it_knows_nothing(self):
        result = self.mayfly.mayfly("explain", "nobody", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no decision about such a container is known", result.stderr)

    def test_policy_check_shows_which_running_container_would_get_what(self):
        self.engine.container("--name", "shop-web-1", "-v", "secrets:/run/secrets:ro", IMAGE, "sleep", "300")
        path = self.mayfly.root / "etc/mayfly/policy.d/test.json"
        path.write_text(path.read_text().replace("shop-web*", "shop-worker*"))
        result = self.mayfly.mayfly("policy", "check", "--against-running", check=False)
        self.assertIn("shop-web-1", result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
