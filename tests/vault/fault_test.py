"""When the server fails: each fault, what readers get, how long it takes, how it stands afterwards."""
import random
import re
import time

from driver import EACCES, EHOSTDOWN, ENOENT, VaultCase

LIMIT_MS = 1200
# name -> fault; each of them on every path
FAULTS = {
    "a server that says 500": {"kind": "status", "status": 500},
    "a server whose backend fails": {"kind": "status", "status": 502},
    "a node that is behind": {"kind": "status", "status": 412},
    "no active node": {"kind": "status", "status": 503, "body": {"errors": ["no active Vault instance found"]}},
    "a quota": {"kind": "status", "status": 429, "headers": {"Retry-After": "9"}},
    "a quota that does not say when": {"kind": "status", "status": 429},
    "a server that hangs": {"kind": "hang"},
    "a server that is slow": {"kind": "slow", "pause": 0.5},
    "half an answer": {"kind": "half"},
    "no answer": {"kind": "close"},
    "garbage": {"kind": "garbage"},
    "too much": {"kind": "huge", "size": 3 * 1024 * 1024},
    "too deep": {"kind": "deep", "depth": 5000},
    "a redirect to somebody else": {"kind": "redirect", "location": "http://127.0.0.1:9"},
    "a redirect in a circle": {"kind": "redirect", "location": None},
}


class Faults(VaultCase):
    def fault_of(self, what):
        fault = dict(FAULTS[what])
        if fault.get("location", "") is None:
            fault["location"] = self.server.address
        return fault

    def test_each_fault_ends_in_time_and_is_served_from_what_is_known(self):
        for what in FAULTS:
            with self.subTest(what):
                driver = self.drive(refresh="1s")
                self.assert_value("geheim-1", driver.read("db#password"))
                self.server.fault(**self.fault_of(what))
                driver.say("outdate prod db")
                answer = driver.read("db#password", LIMIT_MS)
                self.assert_value("geheim-1", answer)
                self.assertTrue(answer["stale"])
                self.assertLess(answer["ms"], LIMIT_MS + 500)
                answer = driver.read("key", LIMIT_MS)
                self.assert_refused(EHOSTDOWN, answer, "nothing is cached; see `mayfly status`")
                self.assertLess(answer["ms"], LIMIT_MS + 500)
                self.server.heal()
                self.wait_for(lambda: driver.read("key", LIMIT_MS)["status"] == 0, "all is well again", 15)
                answer = driver.read("db#password")
                self.assert_value("geheim-1", answer)
                driver.close()

    def test_a_server_that_is_not_there_or_has_no_name(self):
        driver = self.drive(address="http://127.0.0.1:9")
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 1500), "127.0.0.1")
        driver = self.drive(address="https://no-such-host.invalid")
        answer = driver.read("db#password", 1500)
        self.assert_refused(EHOSTDOWN, answer, "no-such-host.invalid")
        self.assertLess(answer["ms"], 2500)

    def test_sealed_is_said_and_kept_from_the_next_reader(self):
        self.state.sealed = True
        driver = self.drive()
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 500), "Vault is sealed")
        self.assertIn("Vault is sealed", driver.status()["detail"])

    def test_an_address_that_fails_is_left_alone_for_longer_each_time(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        self.server.requests.clear()
        self.server.fault("status", status=500)
        end = time.monotonic() + 8
        reads = 0
        while time.monotonic() < end:
            driver.say("outdate prod db")
            answer = driver.read("db#password")
            self.assertTrue(answer["stale"])
            self.assertLess(answer["ms"], 1000)
            reads += 1
        times = [when for when, _, _, _ in self.server.requests]
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.assertGreater(reads, 50)
        self.assertLessEqual(len(times), 7, gaps)
        # Three may fail in a row; then 1 s, 2 s, 4 s.
        for gap, least in zip(gaps[2:], (1, 2, 4)):
            self.assertGreaterEqual(gap, least - 0.01, gaps)

    def test_a_quota_is_kept_to(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        self.state.set_quota(0, 3)
        self.server.requests.clear()
        for _ in range(20):
            driver.say("outdate prod db")
            self.assertTrue(driver.read("db#password")["stale"])
        self.assertEqual(1, self.server.count())
        self.state.quota = None
        time.sleep(3.1)
        self.assertFalse(driver.read("db#password")["stale"])

    def test_a_second_address_takes_over(self):
        second = self.serve(state=self.state)
        driver = self.drive(more_addresses=[second.address], refresh="1s")
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assertEqual(0, second.count())
        for fault in ({"kind": "hang"}, {"kind": "status", "status": 503}):
            self.server.fault(**fault)
            driver.say("outdate prod db")
            answer = driver.read("db#password", 4500)
            self.assert_value("geheim-1", answer)
            self.assertFalse(answer["stale"])
            self.assertLess(answer["ms"], 3500)
            self.server.heal()
        self.assertEqual(["failing", "answers"], [a["state"] for a in driver.status()["addresses"]])
        self.assertEqual("connected", driver.status()["state"])

    def test_one_redirect_is_followed_to_a_listed_address_with_the_token(self):
        second = self.serve(state=self.state)
        driver = self.drive(more_addresses=[second.address])
        self.server.fault("redirect", location=second.address)
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assertEqual(self.server.count(), second.count())

    def test_a_redirect_elsewhere_takes_no_token_along(self):
        stranger = self.serve()
        driver = self.drive()
        driver.read("db#password")
        self.server.fault("redirect", location=stranger.address)
        self.assert_refused(EHOSTDOWN, driver.read("key", 1000), "not listed")
        self.assertEqual(0, stranger.count())

    def test_the_cache_serves_after_a_restart_and_not_beyond_max_stale(self):
        driver = self.drive(max_stale="4s")
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assert_refused(ENOENT, driver.read("none"))
        driver.stop()
        self.state.sealed = True
        again = self.drive(state=driver.state, max_stale="4s")
        answer = again.read("db#password", 1000)
        self.assert_value("geheim-1", answer)
        self.assertTrue(answer["stale"])
        # What was not there is known too: a set that inherits goes on to the next.
        self.assert_refused(ENOENT, again.read("none", 1000))
        time.sleep(5.1)  # times in the store are whole seconds
        self.assert_refused(EHOSTDOWN, again.read("db#password", 500), "nothing is cached")

    def test_after_a_boot_a_server_that_hangs_is_not_waited_for_when_the_value_is_known(self):
        driver = self.drive()
        driver.read("db#password")
        driver.stop()
        self.server.fault("hang")
        again = self.drive(state=driver.state)
        answer = again.read("db#password", 28000)
        self.assert_value("geheim-1", answer)
        self.assertLess(answer["ms"], 7000)
        tag = again.start_read("key", 28000)
        time.sleep(2)
        self.server.heal()
        # What is not known is waited for.
        self.assert_value("only-one", again.expect("tag", tag, 30))

    def test_without_a_cache_nothing_survives_a_restart_and_no_ciphertext_is_written(self):
        driver = self.drive(cache="off")
        self.assert_value("geheim-1", driver.read("db#password"))
        driver.stop()
        self.state.sealed = True
        again = self.drive(state=driver.state, cache="off")
        self.assert_refused(EHOSTDOWN, again.read("db#password", 500))

    def test_the_cache_shows_no_value_and_no_name(self):
        driver = self.drive()
        driver.read("db#password")
        driver.stop()
        for file in driver.state.iterdir():
            data = file.read_bytes()
            for word in (b"geheim-1", b"shop/db", b"password", self.secret_id.encode()):
                self.assertNotIn(word, data, file)

    def test_what_a_server_has_refused_or_removed_is_not_served_from_the_cache_later(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        del self.state.policies["app"]["kv/data/shop/*"]
        driver.say("outdate prod db")
        self.assert_refused(EACCES, driver.read("db#password"))
        driver.stop()
        self.state.sealed = True
        again = self.drive(state=driver.state, refresh="1s")
        self.assertNotEqual(0, again.read("db#password", 500)["status"])

    def test_clocks_that_differ_do_not_matter(self):
        self.state.clock.forward(86400)
        self.secret_id = self.state.secret_id("app")
        self.secret_file("secret-id", self.secret_id)
        self.assert_value("geheim-1", self.drive().read("db#password"))


class RandomFaults(VaultCase):
    REQUESTS, PACE = 10000, 400

    def test_ten_thousand_reads_among_random_faults_get_their_own_value_or_a_refusal_in_time(self):
        values = {f"s{i}": f"wert-{i}" for i in range(40)}
        for name, value in values.items():
            self.state.kv_put("kv", f"shop/{name}", {"value": value})
        servers = [self.server, self.serve(state=self.state), self.serve(state=self.state)]
        driver = self.drive(refresh="1s", max_stale="2s", more_addresses=[s.address for s in servers[1:]])
        driver.read("s0")
        driver.say("arena")
        before = driver.expect("arena")["arena"]
        for server in servers:
            for fault in FAULTS.values():
                if fault["kind"] not in ("hang", "huge", "slow") and "headers" not in fault:
                    server.fault(**{**fault, "location": self.server.address}, chance=0.02)
            server.fault("status", status=429, headers={"Retry-After": "1"}, chance=0.001)
            server.fault("hang", chance=0.002)
            server.fault("slow", chance=0.002, pause=0.5)
            server.fault("huge", chance=0.002, size=3 * 1024 * 1024)
        waiting, done, outcomes = {}, 0, {}
        random.seed(7)
        began = time.monotonic()
        while done < self.REQUESTS:
            # At a pace that lets pauses end and values grow old in between.
            while done + len(waiting) < min(self.REQUESTS, done + 100, 1 + self.PACE * (time.monotonic() - began)):
                name = random.choice(list(values))
                waiting[driver.start_read(name, 1500)] = name
                if random.random() < 0.2:
                    driver.say(f"outdate prod {name}")
            if not waiting:
                time.sleep(0.002)
                continue
            answer = driver.expect("tag")
            name = waiting.pop(answer["tag"])
            done += 1
            self.assertLess(answer["ms"], 2500)
            outcomes[answer["status"]] = outcomes.get(answer["status"], 0) + 1
            if answer["status"] == 0:
                self.assertEqual(values[name], answer["value"])
        print(f"# {outcomes}; {sum(s.count() for s in servers)} requests reached a server")
        self.assertLessEqual(set(outcomes), {0, EHOSTDOWN})
        self.assertGreater(outcomes[0], self.REQUESTS / 2)
        for server in servers:
            server.heal()
        self.wait_for(lambda: all(driver.read(name, 2000)["status"] == 0 for name in values), "all is well again", 60)
        driver.say("arena")
        self.assertLess(driver.expect("arena")["arena"], before + 64 * 4096)
        logins = sorted(when for s in servers for when, _, path, _ in s.requests if re.search("/login", path))
        # One login goes to each address at most, then the pause.
        self.assertLess(len(logins), 3 * (2 + logins[-1] - logins[0]))
