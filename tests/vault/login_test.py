"""Logging in: every method, renewing, logging in again, how often what fails is tried, giving the token back."""
import time

from certificates import Tls
from driver import EHOSTDOWN, VaultCase


class Login(VaultCase):
    def logins(self):
        return self.server.count("/login")

    def gaps(self, pattern):
        times = [when for when, _, path, _ in self.server.requests if pattern in path]
        return [b - a for a, b in zip(times, times[1:])]

    def test_a_token_is_renewed_before_it_ends_and_serves_on(self):
        self.state.roles["app"].update(ttl=3, max_ttl=3600)
        driver = self.drive(refresh="1s")
        driver.say("begin")
        self.wait_for(lambda: self.server.count("/renew-self") >= 2, "two renewals", 10)
        self.assertEqual(1, self.logins())
        self.assert_value("geheim-1", driver.read("db#password"))
        # After two thirds of 3 s, less a tenth of it.
        self.assertTrue(all(gap > 1.5 for gap in self.gaps("/renew-self")), self.gaps("/renew-self"))

    def test_a_token_that_is_renewed_by_less_and_less_is_replaced_before_its_end(self):
        self.state.roles["app"].update(ttl=3, max_ttl=5)
        driver = self.drive(refresh="1s")
        deadline = time.monotonic() + 9
        while time.monotonic() < deadline:
            self.assert_value("geheim-1", driver.read("db#password"))
            time.sleep(0.2)
        self.assertGreaterEqual(self.logins(), 2)
        self.assertLessEqual(self.logins(), 5)
        # Nobody has been refused: the old one served until the next was there.
        self.assertFalse(self.server.count("/lookup-self"))

    def test_a_batch_token_is_not_renewed_but_got_anew(self):
        self.state.roles["app"].update(ttl=3, kind="batch")
        driver = self.drive()
        driver.say("begin")
        self.wait_for(lambda: self.logins() >= 3, "logins", 12)
        self.assertEqual(0, self.server.count("/renew-self"))

    def test_a_token_that_was_revoked_behind_our_back_is_got_anew_and_the_read_succeeds(self):
        driver = self.drive(refresh="1s")
        driver.read("db#password")
        self.state.tokens.clear()
        driver.say("outdate prod db")
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assertEqual((2, 1), (self.logins(), self.server.count("/lookup-self")))

    def test_a_refused_login_is_tried_after_1_2_4_seconds_and_never_earlier(self):
        self.secret_file("secret-id", "00000000-0000-0000-0000-000000000000")
        driver = self.drive()
        driver.say("begin")
        end = time.monotonic() + 9
        number = 0
        while time.monotonic() < end:      # readers do not make it any hotter
            self.assert_refused(EHOSTDOWN, driver.read("db#password", 300), "refuses the login", "invalid role or secret ID")
            number += 1
        self.assertGreater(number, 20)
        gaps = self.gaps("/login")
        self.assertEqual(3, len(gaps), gaps)
        for gap, least in zip(gaps, (1, 2, 4)):
            self.assertGreaterEqual(gap, least - 0.01)
            self.assertLess(gap, least * 1.25 + 0.5)
        # Somebody has put it right: the next try takes it.
        self.secret_file("secret-id", self.secret_id)
        self.wait_for(lambda: driver.status()["logged_in"], "the login", 15)

    def test_a_clean_stop_gives_the_token_back(self):
        driver = self.drive()
        driver.read("db#password")
        self.assertEqual(1, len(self.state.tokens))
        driver.stop()
        self.assertEqual(0, len(self.state.tokens))

    def test_a_stop_does_not_wait_for_a_server_that_hangs(self):
        driver = self.drive()
        driver.read("db#password")
        self.server.fault("hang", "revoke-self")
        began = time.monotonic()
        driver.stop()
        self.assertLess(time.monotonic() - began, 1.5)

    def test_a_token_from_a_file_is_used_and_not_given_back(self):
        token = self.state.token(["app", "default"], 3600, 7200)
        path = self.secret_file("token", token.id)
        driver = self.drive(auth={"method": "token", "token_file": path})
        self.assert_value("geheim-1", driver.read("db#password"))
        self.assertEqual(0, self.logins())
        driver.stop()
        self.assertIn(token.id, self.state.tokens)

    def test_a_token_without_end_is_left_alone(self):
        token = self.state.token(["app", "default"], 0, 0)
        driver = self.drive(auth={"method": "token", "token_file": self.secret_file("token", token.id)})
        driver.read("db#password")
        self.assertEqual(-1, driver.status()["token_life_s"])
        self.assertEqual(1, self.server.count("/lookup-self"))

    def test_a_jwt_is_read_again_at_each_login(self):
        self.state.roles["app"].update(ttl=2, kind="batch")
        self.state.jwts.update({"eyJ.first.x": "app", "eyJ.second.x": "app"})
        path = self.secret_file("jwt", "eyJ.first.x")
        driver = self.drive(auth={"method": "jwt", "mount": "jwt", "jwt_file": path, "role": "app"})
        self.assert_value("geheim-1", driver.read("db#password"))
        self.secret_file("jwt", "eyJ.second.x")
        del self.state.jwts["eyJ.first.x"]
        logins = self.logins()
        self.wait_for(lambda: self.logins() > logins and driver.status()["logged_in"], "the next login", 8)

    def test_a_file_that_everybody_may_read_is_refused(self):
        self.secret_file("secret-id", self.secret_id, 0o444)
        self.assert_refused(EHOSTDOWN, self.drive().read("db#password", 500), "everybody may read", "chmod 0400")
        self.assertEqual(0, self.logins())

    def test_a_file_that_is_not_there_is_said(self):
        (self.files / "secret-id").unlink()
        self.assert_refused(EHOSTDOWN, self.drive().read("db#password", 500), "secret-id", "No such file")


class Wrapped(VaultCase):
    def wrapped(self, token, **more):
        auth = {"method": "approle", "role_id_file": str(self.files / "role-id"), "secret_id_wrapped": True,
                "secret_id_file": self.secret_file("wrapped", token)}
        return self.drive(auth=auth, **more)

    def test_a_wrapped_secret_id_is_unwrapped_once_and_kept_over_restarts(self):
        driver = self.wrapped(self.state.wrap_secret_id("app"))
        self.assert_value("geheim-1", driver.read("db#password"))
        driver.close(keep_state=True)
        self.addCleanup(driver.close)
        auth = {"method": "approle", "role_id_file": str(self.files / "role-id"), "secret_id_wrapped": True,
                "secret_id_file": str(self.files / "wrapped")}
        again = self.drive(state=driver.state, auth=auth)
        self.assert_value("geheim-1", again.read("db#password"))
        self.assertEqual(1, self.server.count("/unwrap"))
        # The token stands in the header, not in the body too, where it would count as used twice.
        self.assertEqual(1, self.server.count("/wrapping/lookup"))

    def test_a_wrapping_token_that_somebody_has_used_is_an_alarm_and_is_not_tried_again(self):
        token = self.state.wrap_secret_id("app")
        del self.state.wrapped[token]
        driver = self.wrapped(token)
        driver.say("begin")
        alarm = driver.expect("alarm")["alarm"]
        self.assertIn("used by somebody else", alarm)
        self.assertNotIn(token, alarm)
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 3000), "somebody else")
        self.assertEqual((1, 0), (self.server.count("/wrapping/"), self.server.count("/login")))
        # Another one in the file is taken.
        self.secret_file("wrapped", self.state.wrap_secret_id("app"))
        self.wait_for(lambda: driver.status()["logged_in"], "the login", 15)

    def test_a_token_that_wraps_something_else_is_an_alarm(self):
        token = self.state.wrap_secret_id("app")
        self.state.wrapped[token]["path"] = "sys/wrapping/wrap"
        driver = self.wrapped(token)
        driver.say("begin")
        self.assertIn("wraps no secret_id of auth/approle", driver.expect("alarm")["alarm"])
        self.assertEqual(0, self.server.count("/unwrap"))

    def test_an_answer_that_is_lost_is_no_theft_and_is_not_asked_for_again(self):
        self.server.fault("lost", "/unwrap", 1)
        driver = self.wrapped(self.state.wrap_secret_id("app"))
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 4000), "lost on its way")
        self.assertEqual(1, self.server.count("/unwrap"))


class Certificate(VaultCase):
    def test_a_client_certificate_logs_in(self):
        tls = Tls(self.files)
        context = tls.server_context("server", client_ca=True)
        server = self.serve(tls=context, state=self.state)
        self.state.certificates["web-1"] = "app"
        cert, key = tls.issue("web-1")
        driver = self.drive(address=server.address, ca_file=tls.ca, client_cert_file=cert, client_key_file=key,
                            auth={"method": "cert"})
        self.assert_value("geheim-1", driver.read("db#password"))
        other, other_key = tls.issue("web-2")
        driver = self.drive(address=server.address, ca_file=tls.ca, client_cert_file=other, client_key_file=other_key,
                            auth={"method": "cert"})
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 1500), "refuses the login", "invalid certificate")



