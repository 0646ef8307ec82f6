"""A set of provider vault beside a real engine: delivered, from the cache while the server is sealed, after a restart too."""
import json
import os
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vault"))
import harness  # noqa: E402
import hunt  # noqa: E402
from certificates import Tls  # noqa: E402
from vault_server import VaultServer  # noqa: E402

READ = {"read", "list"}
INJECT = os.environ.get("MAYFLY_INJECT_CALL", "inject_call")


class Vault(harness.EngineCase):
    plugin = harness.plugin_name("va")

    @classmethod
    def make_mayfly(cls):
        mayfly = harness.Mayfly([cls.engine], [cls.plugin], cls.build)
        files = mayfly.root / "files"
        files.mkdir()
        tls = Tls(files)
        harness.os.chmod(tls.ca, 0o444)
        cls.server = VaultServer(tls=tls.server_context("server")).__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        state = cls.state = cls.server.state
        state.policies["app"] = {"kv/data/shop/*": READ, "kv/metadata/shop/*": READ}
        state.mount("kv")
        cls.secret_id = hunt.marker() + hunt.marker()
        for name, text in (("role-id", state.role("app")), ("secret-id", state.secret_id("app", ident=cls.secret_id))):
            (files / name).write_text(text + "\n")
            (files / name).chmod(0o400)
            harness.os.chown(files / name, harness.USER, harness.USER)
        mayfly.config["sets"]["prod"] = {
            "provider": "vault", "inherits": ["common"],
            # By name: the resolver works inside of the sandbox, for one that is there and one that is not.
            "vault": {"address": f"https://localhost:{cls.server.port}", "ca_file": tls.ca,
                      "more_addresses": [f"https://no-such-host.invalid:{cls.server.port}"], "mount": "kv", "prefix": "shop/", "refresh": "1s",
                      "auth": {"method": "approle", "role_id_file": str(files / "role-id"),
                               "secret_id_file": str(files / "secret-id")}}}
        mayfly.write_config()
        return mayfly

    def setUp(self):
        super().setUp()
        self.state.sealed = False
        self.addCleanup(self.server.heal)
        self.state.kv_put("kv", "shop/db", {"user": "app", "password": "geheim-1"})
        self.state.kv_put("kv", "shop/key", {"value": "einzig"})
        self.volume()
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "db#password", {"name": "key", "as": "api-key"},
                                         {"template": "postgres://{{db#user}}:{{db#password|url}}@db/shop", "as": "url"}, "own"))
        self.mayfly.mayfly("put", "common/own", "--exact", "--stage", input="vom-lager")

    def start(self, name, check=True):
        began = time.monotonic()
        result = self.engine.docker("run", "-d", "--network", "none", "--name", name, "-v", "secrets:/run/secrets",
                                    harness.IMAGE, "sleep", "300", check=check)
        return result, time.monotonic() - began

    def cat(self, name, file):
        return self.engine.exec(name, "cat", f"/run/secrets/{file}").stdout

    def assert_delivered(self, name, password="geheim-1"):
        self.assertEqual(password, self.cat(name, "db/password"))
        self.assertEqual("einzig", self.cat(name, "api-key"))
        self.assertEqual(f"postgres://app:{password}@db/shop", self.cat(name, "url"))
        self.assertEqual("vom-lager", self.cat(name, "own"))

    def test_a_container_gets_fields_values_templates_and_what_is_inherited(self):
        self.start("web1")
        self.assert_delivered("web1")
        backend = self.mayfly.status()["backends"][0]
        self.assertEqual(("prod", "connected", 2), (backend["set"], backend["state"], backend["kv_version"]))
        steps = self.mayfly.explain("web1")["steps"]
        self.assertTrue(any("fetched and held sealed" in step["evidence"] for step in steps))
        server = next(step["evidence"] for step in steps if step["step"] == "server")
        self.assertRegex(server, r"^https://localhost:\d+: kv/shop/\w+ version \d+, kv/shop/\w+ version \d+$")

    def test_the_version_before_and_a_pinned_one_are_files_too(self):
        self.state.kv_put("kv", "shop/two", {"value": "alt"})
        self.state.kv_put("kv", "shop/two", {"value": "neu"})
        self.state.kv_put("kv", "shop/one", {"value": "erst"})
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, {"name": "two", "versions": ["current", "previous"]},
                                         {"name": "two@1", "as": "pinned"}, {"name": "one", "versions": ["current", "previous"]}))
        self.start("web1")
        self.assertEqual(("neu", "alt", "alt", "erst"), tuple(self.cat("web1", f) for f in ("two", "two.previous", "pinned", "one")))
        self.assertNotIn("one.previous", self.engine.exec("web1", "ls", "/run/secrets").stdout)

    def test_a_start_while_the_server_is_sealed_is_served_from_the_cache_after_a_restart_too(self):
        self.start("web1")
        self.state.sealed = True
        time.sleep(1.1)
        _, took = self.start("web2")
        self.assert_delivered("web2")
        self.assertLess(took, 5)
        steps = self.mayfly.explain("web2")["steps"]
        self.assertTrue(any("from the cache" in step["evidence"] for step in steps), steps)
        self.mayfly.stop()
        self.mayfly.start(init=False)
        self.start("web3")
        self.assert_delivered("web3")
        self.assertEqual(["warning", "failed"], sorted({c["outcome"] for c in self.mayfly.call("Doctor")["checks"]
                                                       if c["name"] == "backend"} | {"warning", "failed"}, reverse=True))
        self.assertIn("Vault is sealed", self.mayfly.mayfly("status").stdout.replace("\n", " "))
        self.state.sealed = False
        self.state.kv_put("kv", "shop/db", {"user": "app", "password": "geheim-2"})
        harness.wait_for(lambda: self.mayfly.status()["backends"][0]["logged_in"], "the login after the seal", 60)
        self.start("web4")
        self.assert_delivered("web4", "geheim-2")

    def test_what_was_never_read_is_refused_in_time(self):
        self.state.kv_put("kv", "shop/late", {"value": "x"})
        self.mayfly.policy(harness.grant("late", {"container.name": "late*"}, "late"))
        self.server.fault("hang")
        result, took = self.start("late1", check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("gave no answer in 5 s, and nothing is cached; see `mayfly status`", result.stderr)
        self.assertLess(took, 35)

    def test_what_is_missing_or_denied_says_so(self):
        self.mayfly.policy(harness.grant("none", {"container.name": "none*"}, "nothing"))
        result, _ = self.start("none1", check=False)
        self.assertIn("prod/nothing does not exist: https://localhost", result.stderr)
        self.assertIn("has no secret at kv/shop/nothing; run `mayfly put prod/nothing`", result.stderr)
        del self.state.policies["app"]["kv/data/shop/*"]
        try:
            time.sleep(1.1)
            self.mayfly.policy(harness.grant("none", {"container.name": "none*"}, "key"))
            result, _ = self.start("none2", check=False)
            self.assertIn("does not let set prod read kv/shop/", result.stderr)
        finally:
            self.state.policies["app"]["kv/data/shop/*"] = READ

    def test_the_broker_may_connect_to_that_port_only(self):
        pid = self.mayfly.child("mayfly-broker")
        self.assertIn(f"--connect\0{self.server.port}\0", pathlib.Path(f"/proc/{pid}/cmdline").read_text())
        # Another port in the configuration is not reached before a restart, and that is said.
        config = json.loads(json.dumps(self.mayfly.config))
        self.mayfly.config["sets"]["prod"]["vault"]["address"] = "https://localhost:1"
        self.addCleanup(self.reconfigure, config)
        self.reconfigure(self.mayfly.config)
        self.assertEqual(["sets"], json.loads(self.reloaded)["restart_needed"])

    def wait_password(self, name, password, seconds=15):
        harness.wait_for(lambda: self.cat(name, "db/password") == password, f"{name} has {password}", seconds)

    def change(self, password):
        self.state.kv_put("kv", "shop/db", {"user": "app", "password": password})

    def allow(self, **more):
        self.mayfly.policy(harness.grant("web", {"container.name": "web*"}, "db#password", {"template": "{{db#user}}:{{db#password}}", "as": "both"}, **more))

    def test_a_change_at_the_server_is_a_rotation(self):
        """Files that belong together in one generation, the application told, once for each change; nothing after a restart."""
        self.allow(on_rotate={"signal": "HUP"})
        self.engine.docker("run", "-d", "--network", "none", "--name", "web1", "-v", "secrets:/run/secrets", harness.IMAGE, "sh", "-c",
                           "trap 'echo told >> /tmp/told' HUP; while :; do sleep 0.1; done")
        self.start("web2")
        self.wait_password("web2", "geheim-1")  # not what the test before has left
        self.change("geheim-2")
        for name in ("web1", "web2"):
            self.wait_password(name, "geheim-2")
            self.assertEqual("app:geheim-2", self.cat(name, "both"))
        told = lambda: self.engine.docker("exec", "web1", "cat", "/tmp/told", check=False).stdout.count("told")
        harness.wait_for(lambda: told() == 1, "web1 is told")
        record = [r for r in self.mayfly.audit() if r["action"] == "rotate"][-1]
        self.assertEqual("its server has another version", record["reason"])
        self.assertEqual({"db#password", "db#user"}, {s["name"] for s in record["secrets"]})
        self.mayfly.stop()
        self.mayfly.start(init=False)
        time.sleep(3)
        self.assertEqual((1, "geheim-2"), (told(), self.cat("web1", "db/password")), "nothing has changed meanwhile")
        self.mayfly.stop()
        self.change("geheim-3")
        self.mayfly.start(init=False)
        self.wait_password("web1", "geheim-3", 60)
        harness.wait_for(lambda: told() == 2, "web1 is told again")

    def test_a_change_that_makes_somebody_unwell_is_taken_back_on_this_host(self):
        self.allow(rollback_if_unhealthy_within="20s")
        self.engine.docker("run", "-d", "--network", "none", "--name", "web1", "-v", "secrets:/run/secrets", harness.IMAGE, "sh", "-c",
                           "while ! grep -q geheim-2 /run/secrets/db/password; do sleep 0.1; done; exit 1")
        self.start("web2")
        self.wait_password("web2", "geheim-1")  # not what the test before has left
        self.change("geheim-2")
        harness.wait_for(lambda: any(r["action"] == "rollback" for r in self.mayfly.audit()), "it is taken back", 30)
        self.wait_password("web2", "geheim-1")
        self.assertIn("web1 has ended", [r for r in self.mayfly.audit() if r["action"] == "rollback"][-1]["reason"])
        self.start("web3")
        self.assertEqual("geheim-1", self.cat("web3", "db/password"))
        time.sleep(3)
        self.assertEqual("geheim-1", self.cat("web2", "db/password"), "the refused version does not come again")
        self.change("geheim-3")
        for name in ("web2", "web3"):
            self.wait_password(name, "geheim-3")

    def inject(self, *call):
        result = harness.run(INJECT, self.mayfly.child("mayfly-broker"), *call, check=False)
        harness.need(result.returncode != 77, result.stdout.strip())
        return result.stdout.split()

    def test_a_broker_that_is_taken_over_reaches_the_listed_port_and_nothing_else(self):
        self.start("web1")
        with socket.create_server(("127.0.0.1", 0)) as other:
            self.assertEqual(["refused", "EAFNOSUPPORT"], self.inject("socket", int(socket.AF_UNIX)))
            outcome, number = self.inject("socket", int(socket.AF_INET))
            self.assertEqual("ok", outcome)
            # The control: the port that it may connect to.
            self.assertIn(self.inject("connect", f"{number}:{other.getsockname()[1]}"), [["refused", "EACCES"]])
            self.assertIn(self.inject("connect", f"{number}:{self.server.port}"), [["ok", "0"], ["refused", "EINPROGRESS"]])
            self.inject("close", number)
        before = self.mayfly.child("mayfly-broker")
        self.assertEqual(["killed", "SYS"], self.inject("socket", int(socket.AF_PACKET)))
        harness.wait_for(lambda: self.mayfly.child("mayfly-broker") not in (None, before), "another broker is there")
        self.mayfly.wait_ready()
        self.assertEqual(["killed", "SYS"], self.inject("execute", "/bin/true"))
        self.mayfly.wait_ready()
        self.assert_delivered("web1")

    def reconfigure(self, config):
        self.mayfly.config = config
        self.mayfly.write_config()
        self.reloaded = self.mayfly.mayfly("policy", "reload", "--json").stdout

    def test_put_and_generate_write_through_when_the_token_may(self):
        result = self.mayfly.mayfly("put", "prod/neu", "--exact", input="x", check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("may not write kv/shop/neu", result.stderr)
        self.assertIn("bao kv put kv/shop/neu value=-", result.stderr)
        self.state.policies["app"]["kv/data/shop/*"] = {"read", "create", "update"}
        try:
            self.mayfly.put("prod/neu", "ein \"Wert\"\n\x01<&>")
            versions = self.state.mounts["kv"]["data"]["shop/neu"]["versions"]
            self.assertEqual({"value": "ein \"Wert\"\n\x01<&>"}, versions[1]["data"])
            self.assertIn("unchanged", self.mayfly.put("prod/neu", "ein \"Wert\"\n\x01<&>").stdout)
            result = self.mayfly.mayfly("put", "prod/neu", "--exact", input="anders", check=False)
            self.assertIn("another value", result.stderr)
            self.mayfly.put("prod/neu", "anders", "--stage")
            self.assertEqual({"value": "anders"}, versions[2]["data"])
            self.mayfly.mayfly("generate", "prod/neu2")
            self.assertEqual(32, len(self.state.mounts["kv"]["data"]["shop/neu2"]["versions"][1]["data"]["value"]))
            result = self.mayfly.mayfly("put", "prod/db", "--exact", "--stage", input="y", check=False)
            self.assertIn("fields of its own", result.stderr)
        finally:
            self.state.policies["app"]["kv/data/shop/*"] = READ
        result = self.mayfly.mayfly("show", "prod/neu", check=False)
        self.assertIn("look there, below kv/shop/", result.stderr)
        for verb in (("list", "prod"), ("set", "fill", "prod"), ("diff", "dev", "prod"), ("rm", "prod/neu", "--yes")):
            result = self.mayfly.mayfly(*verb, check=False)
            self.assertIn("look there", result.stdout + result.stderr, verb)

    def test_nothing_of_a_value_a_credential_or_a_token_is_left_where_it_does_not_belong(self):
        value, written = hunt.marker() + hunt.marker(), hunt.marker() + hunt.marker()
        self.state.kv_put("kv", "shop/db", {"user": "app", "password": value})
        self.state.policies["app"]["kv/data/shop/*"] = {"read", "create", "update"}
        try:
            time.sleep(1.1)
            self.start("web1")
            self.assert_delivered("web1", value)
            self.mayfly.put("prod/written", written)
            self.state.sealed = True
            time.sleep(1.1)
            self.start("web2")
            self.assert_delivered("web2", value)
        finally:
            self.state.policies["app"]["kv/data/shop/*"] = READ
            self.state.sealed = False
        everywhere = hunt.Hunt({"value": value.encode(), "written": written.encode(), "secret_id": self.secret_id.encode()})
        tokens = hunt.Hunt({f"token {i}": t.encode() for i, t in enumerate(self.state.tokens)})
        leave_out = [str(self.mayfly.root / "files"), str(self.engine.exec_root / "netns")]
        for values in (everywhere, tokens):
            for directory in (self.mayfly.root, self.engine.directory, pathlib.Path("/dev/shm")):
                self.assertEqual(set(), values.below(directory, leave_out=leave_out)[0])
            self.assertEqual(set(), values.in_commands())
        for pid in harness.processes_below(self.mayfly.process.pid):
            found, read = everywhere.in_memory(pid)
            self.assertGreater(read, 50000)
            self.assertEqual(set(), found)
        # The token itself is used until it ends: in the arena, one page.
        found, _ = tokens.in_memory(self.mayfly.child("mayfly-broker"))
        self.assertLessEqual(len(found), 2 * len(tokens.patterns), found)
        self.assertTrue(all("[heap]" not in place for place in found), found)

    def test_a_clean_stop_gives_the_token_back(self):
        self.start("web1")
        harness.wait_for(lambda: self.mayfly.status()["backends"][0]["logged_in"], "there is a token")
        before = len(self.state.tokens)     # those of brokers that were killed are still there
        self.mayfly.stop()
        try:
            self.assertEqual(before - 1, len(self.state.tokens))
        finally:
            self.mayfly.start(init=False)
