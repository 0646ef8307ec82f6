"""The main job, once in each place where it has to work: a sealed secret reaches one container and vanishes with it."""
import json
import os
import pathlib
import unittest

import deny_calls
from delivery_watch import DeliveryWatch, assert_emptied_in_time, assert_nothing_stale
from harness import IMAGE, REMAPPED_FROM, EngineCase, grant, processes_below, wait_for

PASSWORD = "correct horse\nbattery staple"


class Core:
    """The cases; what they run on is what the classes below differ in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/db-password", PASSWORD)
        cls.mayfly.put("common/api-key", "key\n")
        cls.mayfly.policy(grant("web", {"container.name": "web*"}, "db-password",
                                {"name": "api-key", "as": "keys/api", "uid": 4321, "gid": 99, "mode": "0444"}))

    def setUp(self):
        super().setUp()
        self.volume()

    def web(self, name, *command, options=("-u", "1000")):
        return self.engine.container("--name", name, *options, "-v", "secrets:/run/secrets:ro", IMAGE, *command)

    def watch(self, name):
        self.engine.docker("rm", "-f", name, check=False)
        self.web(name, "sleep", "300")
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "granted", f"{name} has its files")
        return DeliveryWatch(self.engine.inspect(name, ".State.Pid"))

    def test_the_first_instruction_of_the_container_reads_the_secret(self):
        result = self.engine.docker("run", "--rm", "--network", "none", "--name", "web", "-u", "1000", "-v",
                                    "secrets:/run/secrets:ro", IMAGE, "cat", "/run/secrets/db-password",
                                    "/run/secrets/keys/api")
        self.assertEqual(result.stdout, PASSWORD + "key\n")
        assert_nothing_stale(self, self.mayfly)

    def test_owner_mode_and_names_are_the_grants(self):
        name = "web-owner"
        self.web(name, "sleep", "300")
        self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/db-password").stdout, PASSWORD)
        form = "%u %g %a %s %F"
        told = self.engine.exec(name, "stat", "-L", "-c", form, "/run/secrets/db-password").stdout.strip()
        self.assertEqual(told, f"1000 1001 400 {len(PASSWORD)} regular file")
        told = self.engine.exec(name, "stat", "-L", "-c", form, "/run/secrets/keys/api").stdout.strip()
        self.assertEqual(told, "4321 99 444 4 regular file")
        listed = self.engine.exec(name, "ls", "-A", "/run/secrets").stdout.split()
        self.assertEqual(listed, ["..a", "..data", "db-password", "keys"])

    def test_the_generation_describes_itself_without_values(self):
        name = "web-metadata"
        self.web(name, "sleep", "300")
        text = self.engine.exec(name, "cat", "/run/secrets/..data/.mayfly.json").stdout
        metadata = json.loads(text)
        self.assertEqual(metadata["grant"], "web")
        self.assertEqual(metadata["files"]["db-password"], [{"secret": "prod/db-password", "version": 1}])
        self.assertEqual(metadata["files"]["keys/api"], [{"secret": "common/api-key", "version": 1}])
        self.assertIn("expires", metadata)
        self.assertNotIn("horse", text)
        wait_for(lambda: self.mayfly.deliveries(), "the delivery is listed")
        self.assertEqual(self.mayfly.deliveries()[0]["files"],
                         [{"path": "db-password", "grant": "web", "secret": "prod/db-password", "version": 1},
                          {"path": "keys/api", "grant": "web", "secret": "common/api-key", "version": 1}])

    def test_nothing_can_be_written(self):
        name = "web-write"
        self.web(name, "sleep", "300", options=("-u", "0"))
        for command in ("echo x > /run/secrets/db-password", "echo x > /run/secrets/new", "rm -f /run/secrets/db-password",
                        "mkdir /run/secrets/directory", "chmod 777 /run/secrets/..data/db-password"):
            refused = self.engine.exec(name, "sh", "-c", command, check=False)
            self.assertNotEqual(refused.returncode, 0, command)
            self.assertIn("Read-only file system", refused.stderr)

    def test_the_secret_is_gone_100_ms_after_the_container_was_killed(self):
        seconds = assert_emptied_in_time(self, lambda: self.watch("web-killed"),
                                         lambda: self.engine.docker("kill", "web-killed"))
        print(f"# emptied {seconds * 1000:.1f} ms after the end")
        self.engine.docker("rm", "-f", "web-killed")
        assert_nothing_stale(self, self.mayfly)

    def test_the_host_path_has_nothing_while_the_container_runs(self):
        watch = self.watch("web-path")
        self.addCleanup(watch.close)
        volumes = self.mayfly.root / "run/mayfly-volumes"
        directory = f"/proc/{self.engine.pid()}/root{volumes}"
        self.assertEqual([os.listdir(f"{directory}/{name}") for name in os.listdir(directory)], [[]])

    def test_another_container_with_the_same_volume_is_refused(self):
        self.web("web-first", "sleep", "300")
        refused = self.engine.docker("run", "--rm", "--network", "none", "--name", "other", "-v",
                                     "secrets:/run/secrets", IMAGE, "true", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("mayfly: no grant matches other; see `mayfly explain other`", refused.stderr)

    def test_a_restarted_container_has_its_files_again(self):
        name = "web-again"
        self.web(name, "sleep", "300")
        for _ in range(2):
            self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/db-password").stdout, PASSWORD)
            self.engine.docker("restart", "-t", "0", name)
        self.assertEqual(self.engine.exec(name, "cat", "/run/secrets/db-password").stdout, PASSWORD)

    def test_explain_and_audit_name_the_way_of_the_secret(self):
        name = "web-explained"
        self.web(name, "cat", "/run/secrets/db-password")
        self.engine.docker("wait", name)
        wait_for(lambda: self.mayfly.explain(name)["outcome"] == "ended", "explain knows that it has ended")
        steps = {step["step"] for step in self.mayfly.explain(name)["steps"]}
        self.assertLessEqual({"request", "candidate", "match", "require", "values", "identity", "release"}, steps)
        actions = [record["action"] for record in self.mayfly.audit("--container", name)]
        self.assertEqual(actions, ["mount", "release", "end"])
        self.mayfly.mayfly("audit", "verify")


class OnCgroup1(Core, EngineCase):
    pass


class OnCgroup2(Core, EngineCase):
    """An engine whose cgroup tree is version 2, in a mount namespace of its own."""

    cgroup = 2

    def test_the_engine_is_one_of_cgroup_2(self):
        self.assertEqual(self.engine.docker("info", "-f", "{{.CgroupVersion}}").stdout.strip(), "2")
        self.assertNotEqual(os.readlink(f"/proc/{self.engine.pid()}/ns/mnt"), os.readlink("/proc/self/ns/mnt"))

    def test_whoever_of_mayfly_is_replaced_still_sees_what_the_engine_sees(self):
        """A container's root is mounted in the engine's mount namespace only: one that is looked for in the host's is
        not being started, and would get a stand-in without secrets."""
        for name in ("mayfly-engine", "mayfly-broker", "mayfly-mounter", "mayflyd"):
            with self.subTest(replaced=name):
                if name == "mayflyd":
                    self.mayfly.stop()
                    self.mayfly.start()
                else:
                    self.mayfly.kill(name)
                result = self.engine.docker("run", "--rm", "--network", "none", "--name", "web", "-v",
                                            "secrets:/run/secrets:ro", IMAGE, "cat", "/run/secrets/db-password")
                self.assertEqual(result.stdout, PASSWORD)


class InAUserNamespace(Core, EngineCase):
    """An engine with --userns-remap: uid 0 of a container is nobody's uid on the host."""

    remapped = True

    def test_owners_are_shifted_by_the_engines_map(self):
        self.web("web-map", "sleep", "300")
        wait_for(lambda: self.mayfly.explain("web-map")["outcome"] == "granted", "it has its files")
        pid = self.engine.inspect("web-map", ".State.Pid")
        directory = f"/proc/{pid}/root/run/secrets/..data"
        self.assertEqual([(os.stat(f"{directory}/{name}").st_uid, os.stat(f"{directory}/{name}").st_gid)
                          for name in ("db-password", "keys/api")],
                         [(REMAPPED_FROM + 1000, REMAPPED_FROM + 1001), (REMAPPED_FROM + 4321, REMAPPED_FROM + 99)])
        self.assertEqual(self.engine.exec("web-map", "cat", "/run/secrets/db-password").stdout, PASSWORD)

    def test_a_container_that_opts_out_has_plain_owners(self):
        self.web("web-host", "sleep", "300", options=("-u", "1000", "--userns", "host"))
        self.assertEqual(self.engine.exec("web-host", "cat", "/run/secrets/db-password").stdout, PASSWORD)
        self.assertEqual(self.engine.exec("web-host", "stat", "-L", "-c", "%u %g", "/run/secrets/db-password").stdout,
                         "1000 1001\n")


class OnAnOlderKernel(Core, EngineCase):
    """What newer kernels add answers as if it were not there."""

    wrapper = deny_calls.older_kernel()

    def test_mayfly_is_behind_the_filter(self):
        for pid in processes_below(self.mayfly.process.pid):
            self.assertIn("Seccomp:\t2", pathlib.Path(f"/proc/{pid}/status").read_text())


if __name__ == "__main__":
    unittest.main()
