"""Credentials with a lease: one for each holder, renewed, replaced before their end, given back also after our death."""
import time

from driver import VaultCase


class Leases(VaultCase):
    def setUp(self):
        super().setUp()
        self.state.databases.update(ro=(3, 3600), short=(6, 10), long=(600, 3600))

    def lease(self, driver, tag, path="database/creds/long", holder="h1"):
        driver.say("lease", tag, "prod", path, holder)
        return driver.expect("lease", tag)

    def test_each_holder_has_a_user_of_its_own_and_it_goes_with_the_holder(self):
        driver = self.drive()
        a, b = self.lease(driver, "a"), self.lease(driver, "b", holder="h2")
        self.assertEqual({a["map"]["username"], b["map"]["username"]}, self.state.users)
        driver.say("release a")
        self.wait_for(lambda: self.state.users == {b["map"]["username"]}, "the user is gone")

    def test_it_is_renewed_while_it_is_held(self):
        driver = self.drive()
        user = self.lease(driver, "a", "database/creds/ro")["map"]["username"]
        end = time.monotonic() + 7
        while time.monotonic() < end:
            with self.state.lock:
                self.state.expire()
                self.assertIn(user, self.state.users)
            time.sleep(0.1)
        self.assertLessEqual(self.server.count("/leases/renew"), 5)

    def test_near_its_maximum_the_holder_is_told_once_while_it_still_works(self):
        driver = self.drive()
        first = self.lease(driver, "a", "database/creds/short")["map"]["username"]
        driver.expect("ending", "a", 14)
        self.assertIn(first, self.state.users)
        second = self.lease(driver, "b", "database/creds/short")["map"]["username"]
        driver.say("release a")
        self.wait_for(lambda: first not in self.state.users, "the old user is gone")
        self.assertIn(second, self.state.users)

    def test_after_our_death_what_nobody_holds_is_given_back_and_the_rest_is_renewed(self):
        driver = self.drive()
        gone = self.lease(driver, "a", holder="h1")["map"]["username"]
        held = self.lease(driver, "b", holder="h2")["map"]["username"]
        driver.close(keep_state=True)       # SIGKILL
        self.addCleanup(driver.close)
        again = self.drive(state=driver.state)
        again.say("recover h2")
        again.expect("adopted", "h2")
        # Its token was ours before we died: it is to be replaced while that lives.
        again.expect("ending", "h2")
        self.wait_for(lambda: self.state.users == {held}, f"{gone} is gone")
        self.wait_for(lambda: self.server.count("/leases/renew") == 1, "the other is renewed")
        again.say("release h2")
        self.wait_for(lambda: not self.state.users, "the other is gone, too")
        again.close(keep_state=True)
        self.addCleanup(again.close)
        last = self.drive(state=driver.state)
        last.say("recover none")
        self.assertEqual(0, last.expect("recovered")["recovered"])

    def test_a_server_that_is_down_gets_it_back_later_also_after_a_restart(self):
        driver = self.drive()
        self.lease(driver, "a")
        self.server.fault("status", path="/leases/revoke", status=503)
        driver.say("release a")
        self.wait_for(lambda: self.server.count("/leases/revoke") >= 2, "a second try")
        driver.close(keep_state=True)
        self.addCleanup(driver.close)
        self.server.heal()
        again = self.drive(state=driver.state)
        again.say("recover none")
        self.wait_for(lambda: not self.state.users, "it is given back")

    def test_a_request_whose_answer_was_lost_is_not_sent_again(self):
        driver = self.drive()
        driver.read("db#password")          # there is a connection that was used before
        self.server.fault("lost", "/creds/", 1)
        answer = self.lease(driver, "a")
        self.assertNotEqual(0, answer["status"])
        self.assertEqual(1, self.server.count("/creds/"))

    def test_one_that_is_released_while_it_is_made_is_given_back(self):
        driver = self.drive()
        self.server.fault("late", "/creds/", 1, pause=0.5)
        driver.say("lease a prod database/creds/long h1")
        self.wait_for(lambda: self.server.count("/creds/") == 1, "it is being made")
        driver.say("release a")
        self.wait_for(lambda: self.server.count("/leases/revoke") == 1, "it is given back")
        self.assertFalse(self.state.users)

    def test_a_clean_stop_takes_no_credentials_from_who_holds_them(self):
        driver = self.drive()
        user = self.lease(driver, "a")["map"]["username"]
        driver.stop()
        self.assertEqual({user}, self.state.users)

    def test_another_token_means_other_credentials_before_the_old_one_ends(self):
        self.state.roles["app"].update(ttl=6, max_ttl=10)
        driver = self.drive()
        user = self.lease(driver, "a")["map"]["username"]
        driver.expect("ending", "a", 14)
        self.assertIn(user, self.state.users)

    def test_nothing_secret_is_in_the_row(self):
        driver = self.drive()
        secret = self.lease(driver, "a")["map"]["password"]
        for file in driver.state.iterdir():
            self.assertNotIn(secret.encode(), file.read_bytes())


class Watching(VaultCase):
    def test_a_change_is_told_once_by_one_request_an_interval(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        for _ in range(50):
            driver.say("watch prod db")
        time.sleep(2.5)
        self.assertLessEqual(self.server.count("/kv/metadata/shop/db"), 3)
        self.assertEqual(1, self.server.count("/kv/data/shop/db"))
        self.state.kv_put("kv", "shop/db", {"user": "app", "password": "geheim-2"})
        changed = driver.expect("changed", timeout=5)
        self.assertEqual(("shop/db", "prod", 2), (changed["changed"], changed["set"], changed["version"]))
        self.assert_value("geheim-2", driver.read("db#password"))
        time.sleep(2.5)
        self.assertNotIn("changed", [key for line in driver.seen for key in line])
        for _ in range(50):
            driver.say("unwatch prod db")
        time.sleep(0.2)
        count = self.server.count()
        time.sleep(2)
        self.assertEqual(count, self.server.count())

    def test_a_change_is_seen_without_the_right_to_metadata_and_in_version_1(self):
        del self.state.policies["app"]["kv/metadata/shop/*"]
        self.state.kv_put("one", "shop/db", {"password": "a"})
        vault = {"provider": "vault", "vault": self.vault(refresh="1s")}
        old = {"provider": "vault", "vault": self.vault(refresh="1s", mount="one")}
        driver = self.drive(sets={"prod": vault, "old": old})
        driver.read("db#password")
        driver.read("db#password", set_name="old")
        driver.say("watch prod db")
        driver.say("watch old db")
        time.sleep(1.5)
        self.state.kv_put("kv", "shop/db", {"password": "geheim-2"})
        self.state.kv_put("one", "shop/db", {"password": "b"})
        self.assertEqual("shop/db", driver.expect("set", "prod", 5)["changed"])
        self.assertEqual("shop/db", driver.expect("set", "old", 5)["changed"])

    def test_an_outage_is_no_change(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        driver.say("watch prod db")
        self.state.sealed = True
        time.sleep(3)
        self.state.sealed = False
        self.state.kv_put("kv", "shop/db", {"password": "geheim-2"})
        self.assertEqual(2, driver.expect("changed")["version"])
