"""Kernels without permission events: what a grant accepts decides, and nothing happens silently."""
import unittest

import deny_calls
from delivery_watch import DeliveryWatch, assert_emptied_in_time, assert_nothing_stale
from harness import IMAGE, EngineCase, grant, wait_for

SECRET = "correct horse"
# A program that waits for its secret: the files come after the start.
WAIT = "until [ -s /run/secrets/db-password ]; do sleep 0.1; done; cat /run/secrets/db-password; echo; sleep 300"


class Unguarded:
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", SECRET)
        cls.mayfly.put("prod/other", "another one")

    def setUp(self):
        super().setUp()
        self.volume()

    def policy(self, **more):
        self.mayfly.policy(grant("web", {"container.name": "web*"},
                                 "db-password", {"name": "other", "as": "deep/other", "uid": 7, "mode": "0440"}, **more))

    def web(self, name, command, *options):
        return self.engine.container("--name", name, *options, "-v", "secrets:/run/secrets:ro", IMAGE, "sh", "-c", command)

    def logs(self, name, expected):
        """A line that has not ended is not in the log yet."""
        wait_for(lambda: self.engine.docker("logs", name).stdout == expected + "\n", f"{name} has read its secret")

    def test_doctor_and_the_log_say_so(self):
        text = " ".join(self.mayfly.mayfly("doctor", check=False).stdout.split())
        self.assertIn("no fanotify permission events: files come after the start of a container, or at its mount", text)
        self.assertIn("no fanotify permission events", self.mayfly.log_text())

    def test_by_default_the_files_come_after_the_start(self):
        self.policy()
        self.web("web", "ls -A /run/secrets; " + WAIT, "-u", "1000")
        self.logs("web", SECRET)
        told = self.engine.exec("web", "sh", "-c", "cd /run/secrets; stat -L -c '%u %g %a' db-password deep/other; ls").stdout
        self.assertEqual(told, "1000 1001 400\n7 1001 440\ndb-password\ndeep\n")
        decision = self.mayfly.explain("web")
        self.assertEqual(decision["outcome"], "granted")
        self.assertIn("attached empty: this kernel has no permission events, the files come after the start",
                      [step["evidence"] for step in decision["steps"]])

    def test_after_a_start_they_go_with_the_container(self):
        self.policy(release="after-start")

        def start():
            self.engine.docker("rm", "-f", "web", check=False)
            self.web("web", WAIT)
            self.logs("web", SECRET)
            return DeliveryWatch(self.engine.inspect("web", ".State.Pid"))

        assert_emptied_in_time(self, start, lambda: self.engine.docker("kill", "web"))
        self.engine.docker("rm", "web")
        assert_nothing_stale(self, self.mayfly)

    def test_after_a_start_the_host_path_has_nothing_and_cannot_be_copied(self):
        self.policy()
        self.web("web", WAIT)
        self.logs("web", SECRET)
        for path in ("/run/secrets", "/run/secrets/..data/db-password"):
            self.assertNotIn(SECRET, self.engine.docker("cp", f"web:{path}", "-", check=False, timeout=30).stdout)
        self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)

    def test_two_that_start_together_get_their_own(self):
        self.mayfly.policy(grant("web", {"container.name": "web*"}, "db-password"),
                           grant("other", {"container.name": "other*"}, {"name": "other", "as": "db-password"}))
        for number in range(3):
            self.web(f"web-{number}", WAIT)
            self.web(f"other-{number}", WAIT)
        for number in range(3):
            self.logs(f"web-{number}", SECRET)
            self.logs(f"other-{number}", "another one")

    def test_a_restart_gives_them_again(self):
        self.policy()
        self.web("web", WAIT)
        self.logs("web", SECRET)
        self.engine.docker("restart", "-t", "0", "web")
        self.logs("web", f"{SECRET}\n{SECRET}")

    def test_with_release_mount_they_are_there_from_the_first_instruction(self):
        self.policy(release="mount")
        self.web("web", "cat /run/secrets/db-password; echo; sleep 300")
        self.logs("web", SECRET)
        decision = self.mayfly.explain("web")
        self.assertEqual(decision["outcome"], "granted")
        self.assertIn("attached with content: this kernel has no permission events, and the grant allows it",
                      [step["evidence"] for step in decision["steps"]])
        self.engine.docker("rm", "-f", "web")
        assert_nothing_stale(self, self.mayfly)

    def test_with_release_mount_docker_create_still_gets_a_stand_in(self):
        self.policy(release="mount")
        self.engine.docker("create", "--network", "none", "--name", "web", "-v", "secrets:/tmp:ro", IMAGE, "cat",
                           "/tmp/db-password")
        assert_nothing_stale(self, self.mayfly)
        self.assertEqual(self.engine.docker("start", "-a", "web").stdout, SECRET)

    def test_with_release_guard_it_is_refused_and_says_why(self):
        self.policy(release="guard")
        refused = self.engine.docker("run", "--network", "none", "--name", "web", "-v", "secrets:/run/secrets", IMAGE, "true",
                                     check=False)
        self.assertIn("mayfly: this kernel has no permission events, and the grant says \"release\": \"guard\"; see "
                      "`mayfly doctor`", refused.stderr)

    def test_whoever_of_us_is_replaced_takes_nothing_away_and_leaves_nothing(self):
        self.policy()

        def restart():
            self.mayfly.stop()
            self.mayfly.start()

        def kill_all():
            self.mayfly.kill_all()
            self.mayfly.start()

        for what in (restart, kill_all, "mayfly-broker", "mayfly-mounter", "mayfly-engine"):
            with self.subTest(replaced=getattr(what, "__name__", what)):
                self.web("web", WAIT)
                self.logs("web", SECRET)
                if callable(what):
                    what()
                else:
                    killed = self.mayfly.kill(what)
                    wait_for(lambda: self.mayfly.child(what) not in (None, killed), f"{what} is there again")
                    self.mayfly.wait_ready()
                wait_for(lambda: self.mayfly.status()["released"] == 1, "it is taken up")
                self.assertEqual(self.engine.exec("web", "cat", "/run/secrets/db-password").stdout, SECRET)
                watch = DeliveryWatch(self.engine.inspect("web", ".State.Pid"))
                self.addCleanup(watch.close)
                self.engine.docker("kill", "web")
                wait_for(lambda: not watch.has_content(), "it is emptied", 5)
                self.engine.docker("rm", "web")
                assert_nothing_stale(self, self.mayfly)


class WithoutPermissionEvents(Unguarded, EngineCase):
    wrapper = deny_calls.no_permission_events()


class WithoutFanotify(Unguarded, EngineCase):
    wrapper = deny_calls.no_fanotify()


if __name__ == "__main__":
    unittest.main()
