"""A container asks for itself: what it gets, when, where; who is refused, and why; what is left of it afterwards."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

import harness
from harness import BUILD, IMAGE, Engine, EngineCase, grant, wait_for

CALL = BUILD / "tests/engine/varlink_call"
READABLE = {"mode": "0444"}


def readable(name, **more):
    return {"name": name, "mode": "0444", **more}


class RequestCase(EngineCase):
    plugin = harness.plugin_name("request")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.engine.import_image(extra=lambda root: shutil.copy(CALL, root / "bin/call"))
        cls.directory = cls.mayfly.root / "run/mayfly/container"
        for name, value in (("db-password", "hunter2-hunter2"), ("api-key", "k-e-y"), ("third", "drei")):
            cls.mayfly.put(f"prod/{name}", value)

    def setUp(self):
        super().setUp()
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("db-password"), readable("api-key")))

    def start(self, name="web", *options, image=IMAGE):
        """A container that sleeps, with the socket's directory."""
        return self.engine.container("--name", name, "-v", f"{self.directory}:/run/mayfly:ro", *options, image, "sleep",
                                     "600")

    def call(self, container, *arguments, options=(), check=True):
        """The replies as objects."""
        result = self.engine.docker("exec", *options, container, "call", *arguments, check=check, timeout=60)
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    def ask(self, container, method="Request", parameters=None, options=()):
        return self.call(container, method, json.dumps(parameters or {}), options=options)[0]

    def delivered(self, container, parameters=None, is_new=True):
        reply = self.ask(container, "Request", parameters)
        self.assertIn("parameters", reply, reply)
        self.assertNotIn("error", reply, reply)
        self.assertEqual(reply["parameters"]["is_new"], is_new)
        return reply["parameters"]["delivery"]

    def refused(self, reply, error, *words):
        self.assertEqual(reply.get("error"), f"org.mayfly.Container.{error}", reply)
        for word in words:
            self.assertIn(word, reply["parameters"]["text"])
        return reply["parameters"]

    def read(self, container, path, *options):
        return self.engine.docker("exec", *options, container, "cat", path).stdout

    def actions(self, container, action):
        return [r for r in self.mayfly.audit() if r.get("container") == container and r["action"] == action]


class Delivery(RequestCase):
    def test_what_was_asked_for_is_there_when_the_answer_comes(self):
        self.start()
        delivery = self.delivered("web")
        self.assertEqual(delivery["target"], "/run/secrets")
        self.assertEqual([f["path"] for f in delivery["files"]], ["/run/secrets/db-password", "/run/secrets/api-key"])
        self.assertEqual(delivery["files"][0]["secrets"], [{"name": "prod/db-password", "version": 1}])
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")
        self.assertEqual(self.actions("web", "release")[-1]["decision"], "granted")

    def test_no_reply_and_no_record_has_a_value(self):
        self.start()
        replies = self.call("web", "WhoAmI", "-", "Request", "-", "Request", "-", "Watch", "-")
        self.assertEqual(len(replies), 4)
        for text in (json.dumps(replies), json.dumps(self.mayfly.audit()), self.mayfly.log_text()):
            self.assertNotIn("hunter2-hunter2", text)

    def test_asked_again_it_has_nothing_new(self):
        self.start()
        first = self.delivered("web")
        self.assertEqual(self.delivered("web", is_new=False), first)
        self.assertEqual(self.delivered("web", {"names": ["api-key"]}, is_new=False), first)
        self.assertEqual(self.delivered("web", {"grant": "web"}, is_new=False), first)

    def test_more_is_added_in_one_exchange(self):
        self.start()
        first = self.delivered("web", {"names": ["api-key"]})
        self.assertEqual(self.engine.docker("exec", "web", "ls", "/run/secrets").stdout.split(), ["api-key"])
        second = self.delivered("web", {"names": ["db-password"]})
        self.assertEqual(second["lease"], first["lease"])
        self.assertEqual(second["generation"], first["generation"] + 1)
        self.assertEqual(self.engine.docker("exec", "web", "ls", "/run/secrets").stdout.split(), ["api-key", "db-password"])
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")
        self.assertIn("read-only", self.engine.docker("exec", "web", "touch", "/run/secrets/x", check=False).stderr.lower())

    def test_owner_and_mode_are_the_container_users(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, "db-password"))
        self.start("web", "-u", "app")
        self.delivered("web")
        status = self.engine.docker("exec", "web", "stat", "-L", "-c", "%u %g %a", "/run/secrets/db-password").stdout
        self.assertEqual(status.split(), ["1000", "1001", "400"])
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")
        self.assertNotEqual(self.engine.docker("exec", "-u", "4242", "web", "cat", "/run/secrets/db-password",
                                               check=False).returncode, 0)

    def test_one_grant_asked_for_takes_no_other_ones_files_away(self):
        match = {"container.name": "web"}
        self.mayfly.policy(grant("one", match, readable("db-password")), grant("two", match, readable("api-key")),
                           grant("else", match, readable("third"), target="/run/elsewhere"))
        self.start()
        self.delivered("web", {"grant": "one"})
        self.delivered("web", {"grant": "two"})
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")
        self.delivered("web", {"grant": "one"}, is_new=False)
        self.assertEqual(self.engine.docker("exec", "web", "ls", "/run/secrets").stdout.split(), ["api-key", "db-password"])

    def test_the_target_is_the_grants_and_is_made(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("db-password"), target="/srv/app/keys"),
                           grant("more", {"container.name": "web"}, readable("api-key")))
        self.start()
        self.refused(self.ask("web"), "Refused", "different targets")
        self.assertEqual(self.delivered("web", {"grant": "web"})["target"], "/srv/app/keys")
        self.assertEqual(self.delivered("web", {"grant": "more"})["target"], "/run/secrets")
        self.assertEqual(self.read("web", "/srv/app/keys/db-password"), "hunter2-hunter2")
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")

    def test_a_read_only_root_needs_a_place_and_says_so(self):
        self.start("web", "--read-only")
        reply = self.refused(self.ask("web"), "NoTarget", "cannot be made", "Read-only")
        self.assertEqual(reply["advice"], 'tmpfs: [ "/run" ]')
        self.engine.docker("rm", "-f", "web")
        self.start("web", "--read-only", "--tmpfs", "/run")
        # The socket's directory lies below that tmpfs too: its mount is not in the way.
        self.delivered("web")
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")

    def test_plain_layout_and_always_guarded(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("db-password"), layout="plain", guard="always"))
        self.start()
        self.delivered("web")
        self.assertEqual(self.engine.docker("exec", "web", "ls", "-a", "/run/secrets").stdout.split(), [".", "..", "db-password"])
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")
        wait_for(lambda: self.actions("web", "open"), "the open is recorded")
        root = f"/proc/{self.engine.inspect('web', '.State.Pid')}/root/run/secrets/db-password"
        with self.assertRaises(PermissionError):
            pathlib.Path(root).read_text()

    def test_whoever_joins_its_pid_namespace_later_reads_nothing(self):
        self.start()
        self.delivered("web")
        self.engine.container("--name", "joiner", "--pid", "container:web", IMAGE, "sleep", "600")
        wait_for(lambda: self.actions("web", "guard"), "every open is asked for")
        result = self.engine.docker("exec", "joiner", "cat", "/proc/1/root/run/secrets/db-password", check=False)
        self.assertIn("not permitted", result.stderr, result)
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")

    def test_it_is_wiped_when_the_container_stops(self):
        self.start()
        self.delivered("web")
        pid = self.engine.inspect("web", ".State.Pid")
        held = os.open(f"/proc/{pid}/root/run/secrets/db-password", os.O_RDONLY)
        try:
            self.engine.docker("kill", "web")
            wait_for(lambda: os.read(held, 1) == b"" and os.fstat(held).st_size == 0, "it is empty", 2)
        finally:
            os.close(held)
        wait_for(lambda: not self.mayfly.deliveries(), "nothing is delivered any more")

    def test_a_volume_that_has_it_already_is_enough(self):
        self.volume()
        self.start("web", "-v", "secrets:/run/secrets:ro")
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")
        delivery = self.delivered("web", is_new=False)
        self.assertEqual(delivery["target"], "/run/secrets")
        self.refused(self.ask("web", "Release", {"lease": delivery["lease"]}), "NotReleasable", "volume")

    def test_a_volume_with_less_at_the_same_place_is_in_the_way(self):
        self.volume("narrow", "-o", "files=api-key")
        self.start("web", "-v", "narrow:/run/secrets:ro")
        self.refused(self.ask("web"), "NoTarget", "target")

    def test_released_it_can_be_asked_for_again(self):
        self.start()
        lease = self.delivered("web")["lease"]
        self.assertNotIn("error", self.ask("web", "Release", {"lease": lease}))
        wait_for(lambda: not self.mayfly.deliveries(), "it is wiped")
        self.assertEqual(self.engine.docker("exec", "web", "ls", "-a", "/run/secrets").stdout.split(), [".", ".."])
        self.refused(self.ask("web", "Release", {"lease": lease}), "NotReleasable")
        self.assertNotEqual(self.delivered("web")["lease"], lease)
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")

    def test_another_container_cannot_release_it(self):
        self.start()
        self.start("other")
        lease = self.delivered("web")["lease"]
        self.refused(self.ask("other", "Release", {"lease": lease}), "NotReleasable")
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")

    def test_at_the_containers_first_instruction(self):
        """Before the engine has told of its start."""
        for _ in range(5):
            result = self.engine.docker("run", "--rm", "--name", "web", "--network", "none", "-v",
                                        f"{self.directory}:/run/mayfly:ro", IMAGE, "call", "Request", "-")
            self.assertIn('"is_new":true', result.stdout)

    def test_twenty_ask_at_once_and_one_delivery_comes_of_it(self):
        self.start()
        replies = self.call("web", "WhoAmI", "-")
        command = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do call Request - & done; wait"
        result = self.engine.docker("exec", "web", "sh", "-c", command)
        replies = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(len(replies), 20)
        self.assertEqual(len({r["parameters"]["delivery"]["lease"] for r in replies}), 1, replies)
        self.assertEqual(sum(r["parameters"]["is_new"] for r in replies), 1)


class Waiting(RequestCase):
    def later(self, action):
        thread = threading.Timer(0.7, action)
        thread.start()
        self.addCleanup(thread.join)

    def test_for_a_secret_that_is_put_later(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("late")))
        self.start()
        self.refused(self.ask("web"), "NotYet", "mayfly put prod/late")
        self.later(lambda: self.mayfly.put("prod/late", "at last"))
        self.delivered("web", {"wait_ms": 20000})
        self.assertEqual(self.read("web", "/run/secrets/late"), "at last")
        self.mayfly.mayfly("remove", "prod/late", "--purge", "--yes", check=False)

    def test_for_a_grant_that_comes_later(self):
        self.start("free")
        self.refused(self.ask("free", "Request", {"wait_ms": 300}), "Refused", "no grant matches free")
        self.later(lambda: self.mayfly.policy(grant("web", {"container.name": "free"}, readable("third"))))
        self.delivered("free", {"wait_ms": 20000})

    def test_for_an_unlocked_store(self):
        self.start()
        self.mayfly.mayfly("lock")
        key = (self.mayfly.root / "recovery-key").read_text()
        self.refused(self.ask("web"), "NotYet", "mayfly unlock")
        self.later(lambda: self.mayfly.mayfly("unlock", "--recovery", input=key))
        self.delivered("web", {"wait_ms": 20000})

    def test_no_longer_than_it_says(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("never")))
        self.start()
        begun = time.monotonic()
        self.refused(self.ask("web", "Request", {"wait_ms": 1000}), "NotYet", "never")
        self.assertLess(time.monotonic() - begun, 4)

    def test_at_most_sixteen_wait_for_one_container(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("never")))
        self.start()
        command = "for i in $(seq 20); do call Request '{\"wait_ms\":3000}' & done; wait"
        command = command.replace("$(seq 20)", " ".join(map(str, range(20))))
        replies = [json.loads(l) for l in self.engine.docker("exec", "web", "sh", "-c", command).stdout.splitlines()]
        errors = [r["error"].rsplit(".", 1)[1] for r in replies]
        self.assertEqual((errors.count("TooMuch"), errors.count("NotYet")), (4, 16), errors)


class Watching(RequestCase):
    def test_present_then_more_then_gone(self):
        self.start()
        lease = self.delivered("web", {"names": ["api-key"]})["lease"]
        watch = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", "web", "call", "--more", "4",
                                  "Watch", "-"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(watch.wait)
        first = json.loads(watch.stdout.readline())["parameters"]
        self.assertEqual((first["event"], first["delivery"]["generation"]), ("present", 1))
        self.assertEqual(json.loads(watch.stdout.readline())["parameters"], {"event": "synchronised"})
        self.delivered("web")
        second = json.loads(watch.stdout.readline())["parameters"]
        self.assertEqual((second["event"], second["delivery"]["generation"]), ("rotated", 2))
        self.ask("web", "Release", {"lease": lease})
        self.assertEqual(json.loads(watch.stdout.readline())["parameters"]["event"], "ended")
        watch.stdout.close()

    def test_without_more_it_is_the_present_state(self):
        self.start()
        self.assertEqual(self.ask("web", "Watch")["error"], "org.mayfly.Container.NothingDelivered")
        self.delivered("web")
        self.assertEqual(self.ask("web", "Watch")["parameters"]["event"], "present")


class Identity(RequestCase):
    def test_who_am_i_says_what_is_known_and_how(self):
        identity = self.start()
        who = self.ask("web", "WhoAmI")["parameters"]
        self.assertEqual((who["container"], who["container_id"], who["grants"]), ("web", identity, ["web"]))
        facts = {f["fact"]: f for f in who["facts"]}
        self.assertEqual(facts["container"]["known_by"], "engine")
        self.assertEqual(facts["init"]["value"], self.engine.inspect("web", ".State.Pid"))
        self.assertEqual(facts["cgroup"]["known_by"], "kernel")

    def test_the_service_describes_itself(self):
        self.start()
        info = self.ask("web", "org.varlink.service.GetInfo")["parameters"]
        self.assertIn("org.mayfly.Container", info["interfaces"])
        text = self.ask("web", "org.varlink.service.GetInterfaceDescription",
                        {"interface": "org.mayfly.Container"})["parameters"]["description"]
        source = pathlib.Path(__file__).resolve().parents[2] / "proto/org.mayfly.Container.varlink"
        self.assertEqual(text, source.read_text())

    def test_a_process_of_the_host_is_nobody(self):
        environment = {"MAYFLY_SOCKET": str(self.directory / "container.sock")}
        result = subprocess.run([CALL, "Request", "-"], env=environment, capture_output=True, text=True, check=True)
        self.refused(json.loads(result.stdout), "NotAttested", "no container that an engine has told of")
        record = [r for r in self.mayfly.audit() if r["action"] == "call"][-1]
        self.assertEqual(record["decision"], "refused")
        self.assertIn("at the container socket refused: it is in no container that an engine has told of", record["reason"])

    def test_strangers_in_numbers_are_recorded_and_do_not_fill_the_audit_file(self):
        before = sum(r["action"] == "call" for r in self.mayfly.audit("--last", "1000"))
        calls = ["WhoAmI", "-"] * 100
        environment = {"MAYFLY_SOCKET": str(self.directory / "container.sock")}
        result = subprocess.run([CALL, "--child-sends", *calls], env=environment, capture_output=True, text=True, check=True)
        self.assertEqual(result.stdout.count("used by another process"), 100)
        recorded = sum(r["action"] == "call" for r in self.mayfly.audit("--last", "1000")) - before
        self.assertGreater(recorded, 0)
        self.assertLess(recorded, 20)

    def test_a_child_that_sends_on_its_parents_connection_is_refused(self):
        self.start()
        reply = self.call("web", "--child-sends", "Request", "-")[0]
        self.refused(reply, "NotAttested", "another process")
        self.assertFalse(self.mayfly.deliveries())

    def test_a_connection_whose_maker_has_ended_is_nobodys(self):
        self.start()
        command = "call --parent-gone Request - >/tmp/reply 2>&1; until [ -s /tmp/reply ]; do sleep 0.1; done; cat /tmp/reply"
        text = self.engine.docker("exec", "web", "sh", "-c", command, timeout=30).stdout
        if self.wrapper and text in ("(closed)\n", "write: Broken pipe\n"):
            return  # An older kernel has nothing to hold on to once it has gone: the connection is not taken.
        self.refused(json.loads(text), "NotAttested")

    def test_a_container_inside_the_container_is_not_the_container(self):
        options = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("api-key"), require={"sys_admin": "allow"}))
        self.start("web", *options)
        self.refused(self.call("web", "--unshare-mount", "Request", "-")[0], "NotAttested", "mount namespace")
        self.refused(self.call("web", "--unshare-pid", "Request", "-")[0], "NotAttested", "pid namespace")
        self.delivered("web")

    def test_a_writable_cgroup_file_system_is_refused(self):
        self.start("web", "-v", "/sys/fs/cgroup:/cgroup:rw")
        self.refused(self.ask("web"), "NotAttested", "write to a cgroup file system")

    def test_posture_is_judged_as_for_a_volume(self):
        self.mayfly.policy(grant("web", {"container.name": "web"}, readable("api-key"), require={"non_root": True}))
        self.start()
        self.refused(self.ask("web"), "Refused", "grant web refuses")
        refused = [r for r in self.actions("web", "request") if r["decision"] == "refused"]
        self.assertIn("grant web refuses", refused[-1]["reason"])
        self.assertEqual(self.mayfly.explain("web")["outcome"], "refused")

    def test_the_operators_socket_serves_no_container(self):
        """Root in a container is root to the file's mode."""
        self.start("web", "-v", f"{self.mayfly.root}/run/mayfly:/all:ro")
        reply = self.call("web", "org.mayfly.Operator.Status", "-", options=("-e", "MAYFLY_SOCKET=/all/operator.sock"))[0]
        self.assertEqual(reply["error"], "org.mayfly.Operator.Forbidden")

    def test_bad_parameters_are_named(self):
        self.start()
        for parameters, name in (({"names": "api-key"}, "names"), ({"names": [1]}, "names"), ({"grant": 7}, "grant"),
                                 ({"wait_ms": -1}, "wait_ms"), ({"names": ["x"] * 200}, "names"), ({"more": []}, "more")):
            reply = self.ask("web", "Request", parameters)
            self.assertEqual((reply["error"], reply["parameters"]),
                             ("org.varlink.service.InvalidParameter", {"parameter": name}))
        self.refused(self.ask("web", "Request", {"names": ["unheard-of"]}), "Refused", "unheard-of")
        self.refused(self.ask("web", "Request", {"grant": "wbe"}), "Refused", "web")
        self.assertEqual(self.ask("web", "Nothing")["error"], "org.varlink.service.MethodNotFound")


class Remapped(RequestCase):
    """Root in these containers is another user of the host: Mayfly can make no directory of theirs."""

    plugin = harness.plugin_name("remapped")
    remapped = True

    def test_a_missing_target_is_told_with_what_to_do(self):
        self.start()
        reply = self.refused(self.ask("web"), "NoTarget", "cannot be made")
        self.assertIn("volumes: [", reply["advice"])
        self.assertIn("make the directory in the image", reply["advice"])

    def test_a_target_that_is_there_is_used_and_its_owner_is_the_containers(self):
        self.start("web", "-u", "1000")
        self.engine.docker("exec", "-u", "0", "web", "mkdir", "-p", "/run/secrets")
        self.mayfly.policy(grant("web", {"container.name": "web"}, {"name": "db-password", "uid": 1000, "gid": 0}))
        self.delivered("web")
        self.assertEqual(self.read("web", "/run/secrets/db-password"), "hunter2-hunter2")
        status = os.stat(f"/proc/{self.engine.inspect('web', '.State.Pid')}/root/run/secrets/db-password")
        self.assertEqual((status.st_uid, status.st_gid), (harness.REMAPPED_FROM + 1000, harness.REMAPPED_FROM))


class Dying(RequestCase):
    def test_a_delivery_outlives_each_of_us(self):
        self.start()
        lease = self.delivered("web")["lease"]
        for name in ("mayfly-broker", "mayfly-mounter", "mayfly-engine"):
            self.mayfly.kill(name)
            wait_for(lambda: self.mayfly.child(name), f"{name} is back")
            self.mayfly.wait_ready()
            self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y", name)
            again = wait_for(lambda: self.ask("web")["parameters"].get("delivery"), "it answers")
            self.assertEqual(again["lease"], lease, name)
        self.mayfly.kill_all()
        self.assertEqual(self.read("web", "/run/secrets/api-key"), "k-e-y")
        self.mayfly.start()
        again = wait_for(lambda: self.ask("web")["parameters"].get("delivery"), "it answers")
        self.assertEqual(again["lease"], lease)
        self.assertNotIn("error", self.ask("web", "Release", {"lease": lease}))
        wait_for(lambda: not self.mayfly.deliveries(), "it is wiped")
        self.assertEqual(self.engine.docker("exec", "web", "ls", "/run/secrets").stdout, "")


class OlderKernel(Identity, Delivery):
    """Before 6.5: the connected process echoes a nonce."""

    wrapper = (os.environ.get("MAYFLY_DENY_CALLS", ""), "older-kernel")


del EngineCase, RequestCase
