"""Reading secrets: names, fields, versions, both kinds of mounts, one request for many readers."""
from driver import EACCES, EIDRM, EINVAL, ENOENT, VaultCase


class Reading(VaultCase):
    def test_a_field_is_its_bytes(self):
        driver = self.drive()
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assert_value("app", driver.read("db#user"))

    def test_a_secret_of_one_value_is_that_value(self):
        self.assert_value("only-one", self.drive().read("key"))

    def test_any_other_secret_is_its_map(self):
        self.assert_value('{"password":"geheim-1","user":"app"}', self.drive().read("db"))

    def test_escapes_are_undone_in_a_field(self):
        text = "a\"b\\c\n<&>\u2028 ä 😀 \u0001"
        self.state.kv_put("kv", "shop/odd", {"x": text, "n": 5432, "t": True, "o": {"a": [1, 2]}})
        driver = self.drive()
        self.assert_value(text, driver.read("odd#x"))
        self.assert_value("5432", driver.read("odd#n"))
        self.assert_value("true", driver.read("odd#t"))
        self.assert_value('{"a":[1,2]}', driver.read("odd#o"))

    def test_what_is_not_there_is_said(self):
        self.state.kv_put("kv", "shop/empty", {"e": "", "z": None})
        driver = self.drive()
        self.assert_refused(ENOENT, driver.read("none"), "no secret at kv/shop/none")
        self.assert_refused(ENOENT, driver.read("db#other"), "no field 'other'")
        self.assert_refused(EINVAL, driver.read("empty#e"), "nothing stands in its field e")
        self.assert_refused(EINVAL, driver.read("empty#z"), "nothing stands in its field z")

    def test_versions_are_pinned_deleted_and_destroyed(self):
        self.state.kv_put("kv", "shop/db", {"password": "geheim-2"})
        self.state.kv_put("kv", "shop/db", {"password": "geheim-3"})
        driver = self.drive()
        self.assert_value("geheim-1", driver.read("db#password@1"))
        self.assert_value("geheim-3", driver.read("db#password"))
        versions = self.state.mounts["kv"]["data"]["shop/db"]["versions"]
        versions[2]["destroyed"] = True
        versions[3]["deletion"] = self.state.clock.now()
        driver.say("outdate prod db")
        self.assert_refused(EIDRM, driver.read("db#password@2"), "version 2", "destroyed")
        self.assert_refused(EIDRM, driver.read("db#password"), "version 3", "deleted", "undelete")
        self.assert_refused(ENOENT, driver.read("db#password@9"))

    def test_a_deletion_that_is_to_come_is_none(self):
        self.state.mounts["kv"]["data"]["shop/db"]["versions"][1]["deletion"] = self.state.clock.now() + 3600
        self.assert_value("geheim-1", self.drive().read("db#password"))

    def test_a_mount_of_version_1_is_recognised(self):
        self.state.kv_put("one", "shop/db", {"password": "alt"})
        driver = self.drive(mount="one")
        self.assert_value("alt", driver.read("db#password"))
        self.assertEqual(1, driver.status()["kv_version"])
        self.assert_refused(ENOENT, driver.read("none"))

    def test_names_may_lie_elsewhere(self):
        driver = self.drive(names={"db-password": "shop/db#password", "first": "shop/db@1"})
        self.assert_value("geheim-1", driver.read("db-password"))
        self.assert_value("app", driver.read("first#user"))

    def test_what_the_policy_denies_is_refused(self):
        self.state.kv_put("kv", "other/db", {"password": "x"})
        driver = self.drive(prefix="other/")
        self.assert_refused(EACCES, driver.read("db#password"), "does not let set prod read kv/other/db", "policies")
        # Nothing of it is asked for in a loop.
        self.assertLess(self.server.count(), 8)

    def test_many_readers_are_one_request(self):
        driver = self.drive()
        tags = [driver.start_read("db#password") for _ in range(200)]
        for tag in tags:
            self.assert_value("geheim-1", driver.expect("tag", tag))
        self.assertEqual(1, self.server.count("/kv/data/shop/db"))
        self.assertEqual(1, self.server.count("/login"))
        self.assertEqual(1, self.server.count("/ui/mounts"))

    def test_many_secrets_are_one_request_each_and_few_at_once(self):
        for i in range(100):
            self.state.kv_put("kv", f"shop/s{i}", {"value": f"v{i}"})
        driver = self.drive()
        tags = {driver.start_read(f"s{i}"): f"v{i}" for i in range(100) for _ in range(3)}
        for tag, value in tags.items():
            self.assert_value(value, driver.expect("tag", tag))
        self.assertEqual(100, self.server.count("/kv/data/shop/s"))

    def test_a_value_is_asked_for_again_when_it_is_older_than_refresh(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        self.state.kv_put("kv", "shop/db", {"password": "geheim-2"})
        self.wait_for(lambda: driver.read("db#password")["value"] == "geheim-2", "the new value", 5)

    def test_a_namespace_goes_with_every_request(self):
        self.state.namespace = "team/a"
        self.assert_value("geheim-1", self.drive(namespace="team/a/").read("db#password"))
        self.assertNotEqual(0, self.drive().read("db#password", 1500)["status"])

    def test_no_memory_outside_the_arena_keeps_what_was_read(self):
        self.state.kv_put("kv", "shop/canary", {"value": "canary-" + "q" * 40})
        driver = self.drive()
        driver.say("read quietly prod canary 4500")
        self.assertEqual(0, driver.expect("tag", "quietly")["status"])
        for word in ("canary-" + "q" * 40, self.secret_id, next(iter(self.state.tokens))):
            driver.say("memory", "".join(chr(ord(c) ^ 1) for c in word))
            self.assertEqual(0, driver.expect("copies")["copies"], word)
