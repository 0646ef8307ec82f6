"""Compose as people write it: a volume with our driver in Debian's old Compose and in a current one, and ordinary
`secrets:` blocks through `mayfly compose`."""
import json
import unittest

from compose_project import ComposeProject, service
from delivery_watch import assert_nothing_stale
from harness import EngineCase, grant, wait_for

LIST = ("cd /run/secrets; for f in $(find ..data/ -type f ! -name .mayfly.json | sort); do "
        "echo $(stat -c '%u %g %a %n' $f) $(cat $f); done")


class ComposeCase(EngineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for set_name in ("dev", "prod"):
            cls.mayfly.put(f"{set_name}/db-password", f"{set_name}-password")
        cls.mayfly.put("common/tls-key", "common-key")

    def project(self, **model):
        return ComposeProject(self, **model)

    def listed(self, container):
        return self.engine.exec(container, "sh", "-c", LIST).stdout.splitlines()


class PlainVolumes(ComposeCase):
    """`driver: mayfly`, no wrapper, the same file for everybody."""

    def setUp(self):
        super().setUp()
        self.mayfly.policy(grant("web", {"compose.project": "shop", "compose.service": "web"}, "db-password"),
                           grant("worker", {"compose.project": "shop", "compose.service": "worker"},
                                 {"name": "tls-key", "uid": 7}))
        mounts = {"volumes": ["secrets:/run/secrets:ro"]}
        self.shop = self.project(services={"web": service(user="1000", read_only=True, **mounts), "worker": service(**mounts)},
                                 volumes={"secrets": {"driver": self.plugin}})

    def name(self, container, separator):
        return container.replace("-", separator)

    def each_compose(self):
        for compose, separator in ((self.shop.old, "_"), (self.shop.current, "-")):
            with self.subTest(compose=compose.__name__):
                yield compose, lambda name: name.replace("-", separator)
                self.shop.down()

    def test_up_restart_and_down(self):
        for compose, named in self.each_compose():
            compose("up", "-d")
            self.assertEqual(self.listed(named("shop-web-1")), ["1000 1001 400 ..data/db-password prod-password"])
            self.assertEqual(self.listed(named("shop-worker-1")), ["7 0 400 ..data/tls-key common-key"])
            compose("restart", "-t", "0")
            self.assertEqual(self.listed(named("shop-web-1")), ["1000 1001 400 ..data/db-password prod-password"])
            compose("stop", "-t", "0")
            assert_nothing_stale(self, self.mayfly)
            compose("up", "-d")
            self.assertEqual(self.listed(named("shop-worker-1")), ["7 0 400 ..data/tls-key common-key"])
            compose("down", "-v", "-t", "0")
            assert_nothing_stale(self, self.mayfly)

    def test_three_replicas_have_a_delivery_each(self):
        for compose, named in self.each_compose():
            compose("up", "-d", "--scale", "web=3", "web")
            for number in (1, 2, 3):
                self.assertEqual(self.listed(named(f"shop-web-{number}")),
                                 ["1000 1001 400 ..data/db-password prod-password"])
            self.assertEqual(len(self.mayfly.deliveries()), 3)

    def test_run_is_its_service_unless_the_grant_says_otherwise(self):
        for compose, _ in self.each_compose():
            self.assertEqual(compose("run", "--rm", "-T", "web", "cat", "/run/secrets/db-password").stdout.strip(),
                             "prod-password")
            self.mayfly.policy(grant("web", {"compose.project": "shop", "compose.service": "web", "compose.oneoff": False},
                                     "db-password"))
            refused = compose("run", "--rm", "-T", "web", "true", check=False)
            self.assertIn("mayfly: no grant matches shop", refused.stderr)
            self.setUp_policy()

    def setUp_policy(self):
        self.mayfly.policy(grant("web", {"compose.project": "shop", "compose.service": "web"}, "db-password"))

    def test_a_refusal_stands_in_composes_own_error(self):
        self.mayfly.policy(grant("other", {"compose.project": "other"}, "db-password"))
        for compose, named in self.each_compose():
            refused = compose("up", "-d", "web", check=False)
            self.assertNotEqual(refused.returncode, 0)
            name = named("shop-web-1")
            self.assertIn(f"mayfly: no grant matches {name} (project shop, service web); see `mayfly explain {name}`",
                          " ".join((refused.stdout + refused.stderr).split()))

    def test_dev_and_prod_from_one_file_by_the_hosts_environment(self):
        before = self.shop.digest()
        for environment in ("dev", "prod"):
            self.mayfly.config["environment"] = environment
            self.mayfly.write_config()
            self.mayfly.mayfly("policy", "reload")
            self.shop.current("up", "-d", "--force-recreate")
            self.assertEqual(self.listed("shop-web-1"), [f"1000 1001 400 ..data/db-password {environment}-password"])
            self.assertEqual(self.listed("shop-worker-1"), ["7 0 400 ..data/tls-key common-key"])
        self.assertEqual(self.shop.digest(), before)


class SecretsBlocks(ComposeCase):
    """The file as Compose knows it, with values in files and variables beside it; the values come from Mayfly."""

    FILE_VALUE, VARIABLE_VALUE = "plain value of the file", "plain value of the variable"

    def setUp(self):
        super().setUp()
        self.mayfly.policy(grant("web", {"compose.project": "shop", "compose.service": "web"}, "db-password", "tls-key"))
        self.shop = self.project(
            services={"web": service(user="1000", secrets=[
                "db-password", {"source": "tls-key", "target": "tls/key.pem", "uid": "7", "gid": "8", "mode": 0o400},
                {"source": "tls-key", "target": "/etc/tls/key.pem", "uid": "1000", "gid": "1000", "mode": 0o400}])},
            secrets={"db-password": {"file": "./password.txt"}, "tls-key": {"environment": "TLS_KEY"}})
        (self.shop.file.parent / "password.txt").write_text(self.FILE_VALUE)
        self.env = {"TLS_KEY": self.VARIABLE_VALUE}
        self.before = self.shop.digest()

    def assert_served(self, name="shop-web-1"):
        self.assertEqual(self.listed(name), ["1000 1001 400 ..data/db-password prod-password",
                                             "7 8 400 ..data/tls/key.pem"])
        told = self.engine.exec(name, "sh", "-c", "stat -L -c '%u %g %a' /etc/tls/key.pem; cat /etc/tls/key.pem").stdout
        self.assertEqual(told, "1000 1000 400\ncommon-key")
        everything = self.engine.docker("inspect", name).stdout
        for value in ("prod-password", "common-key", self.FILE_VALUE, self.VARIABLE_VALUE):
            self.assertNotIn(value, everything)

    def listed(self, container):
        """What the container's user sees."""
        return [line.strip() for line in self.engine.exec("-u", "1000", container, "sh", "-c", LIST, check=False)
                .stdout.splitlines()]

    def test_compose_up_serves_the_secrets_and_leaves_the_file_alone(self):
        self.shop.mayfly("compose", "up", "-d", env=self.env)
        self.assert_served()
        self.assertEqual(self.shop.digest(), self.before)
        self.assertEqual(self.shop.files(), ["compose.yaml", "password.txt"])
        self.assertIn("shop-web-1", self.shop.mayfly("compose", "ps", env=self.env).stdout)
        self.shop.mayfly("compose", "restart", "-t", "0", env=self.env)
        self.assert_served()
        run = self.shop.mayfly("compose", "run", "--rm", "-T", "web", "cat", "/run/secrets/db-password", env=self.env)
        self.assertEqual(run.stdout.strip(), "prod-password")
        self.shop.mayfly("compose", "down", "-v", "-t", "0", env=self.env)
        assert_nothing_stale(self, self.mayfly)

    def test_the_override_has_no_value(self):
        shown = self.shop.mayfly("compose", "config", env=self.env).stdout
        for value in ("prod-password", "common-key", self.FILE_VALUE, self.VARIABLE_VALUE):
            self.assertNotIn(value, shown)
        self.assertIn(self.plugin, shown)

    def test_convert_writes_a_copy_that_plain_compose_runs(self):
        told = self.shop.mayfly("compose", "convert", env=self.env).stdout
        self.assertIn("compose.mayfly.yaml is written; compose.yaml is as it was", told)
        self.assertIn("mayfly put prod/db-password --from-file ./password.txt", told)
        self.assertEqual(self.shop.digest(), self.before)
        copy = (self.shop.file.parent / "compose.mayfly.yaml").read_text()
        for value in (self.FILE_VALUE, self.VARIABLE_VALUE, "password.txt", "TLS_KEY"):
            self.assertNotIn(value, copy)
        self.shop.current("-f", "compose.mayfly.yaml", "up", "-d")
        self.assert_served()
        # Once more over its own copy, never over another file.
        self.shop.mayfly("compose", "convert", env=self.env)
        (self.shop.file.parent / "other.yaml").write_text("precious")
        refused = self.shop.mayfly("compose", "convert", "-o", "other.yaml", env=self.env, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertEqual((self.shop.file.parent / "other.yaml").read_text(), "precious")
        refused = self.shop.mayfly("compose", "convert", "-o", "compose.yaml", env=self.env, check=False)
        self.assertIn("is the original, which is never changed", refused.stderr)

    def test_allow_reads_the_grant_from_the_file(self):
        self.mayfly.policy()
        refused = self.shop.mayfly("compose", "up", "-d", env=self.env, check=False)
        self.assertIn("no grant matches shop-web-1", refused.stdout + refused.stderr)
        shown = self.shop.mayfly("allow", "--compose", "compose.yaml", "web", "--yes", env=self.env).stdout
        self.assertIn("compose.project = shop", shown)
        self.addCleanup((self.mayfly.root / "etc/mayfly/policy.d/shop-web.json").unlink)
        self.shop.mayfly("compose", "up", "-d", env=self.env)
        self.assert_served()

    def test_an_old_compose_is_too_old_and_nothing_is_started(self):
        old = self.project(name="old", services={"web": service(secrets=["db-password"])},
                           secrets={"db-password": {"file": "./password.txt"}})
        (old.file.parent / "password.txt").write_text(self.FILE_VALUE)
        for arguments in (("compose", "up", "-d"), ("compose", "convert")):
            refused = old.mayfly(*arguments, config="empty", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("is too old for this", refused.stderr)
        self.assertEqual(self.engine.docker("ps", "-aq").stdout, "")


class NotServed(ComposeCase):
    """What cannot be served is said before anything starts."""

    def refusals(self, secret="db-password", definition=None, **more):
        shop = self.project(services={"web": service(secrets=[secret], **more)},
                            secrets={"db-password": definition or {"file": "./password.txt"}})
        (shop.file.parent / "password.txt").write_text("x")
        before = shop.digest()
        said = []
        for arguments in (("compose", "up", "-d"), ("compose", "convert")):
            refused = shop.mayfly(*arguments, check=False)
            self.assertNotEqual(refused.returncode, 0, refused.stdout)
            said.append(refused.stderr)
        self.assertEqual(self.engine.docker("ps", "-aq").stdout, "")
        self.assertEqual((shop.digest(), shop.files()), (before, ["compose.yaml", "password.txt"]))
        return said

    def test_a_service_that_mounts_the_place_itself(self):
        for said in self.refusals(tmpfs=["/run/secrets"]):
            self.assertIn("service web: it mounts /run/secrets itself, where its secrets would be", said)
            self.assertIn("nothing was started or written", said)

    def test_what_only_swarm_knows(self):
        for said in self.refusals(definition={"driver": "vault", "driver_opts": {"a": "b"}}):
            self.assertIn("which only Swarm knows", said)

    def test_a_target_that_is_a_variable(self):
        for said in self.refusals(secret={"source": "db-password", "target": "$TARGET"}):
            self.assertIn("its target has a variable: write it out", said)

    def test_a_target_in_the_root_directory(self):
        for said in self.refusals(secret={"source": "db-password", "target": "/password"}):
            self.assertIn("its target lies in the root directory", said)


if __name__ == "__main__":
    unittest.main()
