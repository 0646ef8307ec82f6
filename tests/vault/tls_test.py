"""Whom the provider believes: a matrix of certificates and protocols; nothing is sent to whoever is not believed."""
import ssl
import time

from certificates import Tls
from driver import EHOSTDOWN, VaultCase


class Believed(VaultCase):
    def setUp(self):
        super().setUp()
        self.tls = Tls(self.files)

    def over(self, context, ca=None, host=None):
        server = self.serve(tls=context, state=self.state)
        address = server.address if host is None else f"https://{host}:{server.port}"
        return server, self.drive(address=address, ca_file=ca or self.tls.ca)

    def assert_not_believed(self, server, driver, *words):
        began = time.monotonic()
        self.assert_refused(EHOSTDOWN, driver.read("db#password", 1500), *words, "nothing is cached")
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual([], server.requests, "nothing may reach it, no token and no secret_id")
        self.assertEqual("unreachable", driver.status()["state"])

    def test_a_good_certificate_is_believed_by_address_and_by_name(self):
        context = self.tls.server_context("good")
        _, driver = self.over(context)
        self.assert_value("geheim-1", driver.read("db#password"))
        _, driver = self.over(context, host="localhost")
        self.assert_value("geheim-1", driver.read("db#password"))

    def test_an_expired_one_is_not(self):
        server, driver = self.over(self.tls.server_context("old", end="20240101000000Z"))
        self.assert_not_believed(server, driver, "expired")

    def test_one_that_is_not_valid_yet_is_not(self):
        server, driver = self.over(self.tls.server_context("early", start="20400101000000Z"))
        self.assert_not_believed(server, driver, "not yet valid")

    def test_one_for_another_name_is_not(self):
        server, driver = self.over(self.tls.server_context("other", host="DNS:vault.example"))
        self.assert_not_believed(server, driver, "127.0.0.1")

    def test_a_self_signed_one_is_not(self):
        server, driver = self.over(self.tls.server_context("self", self_signed=True))
        self.assert_not_believed(server, driver, "self-signed")

    def test_one_of_another_authority_is_not(self):
        server, driver = self.over(self.tls.server_context("good"), ca=Tls(self.files, "other-ca").ca)
        self.assert_not_believed(server, driver)

    def test_the_hosts_own_authorities_do_not_count_beside_a_pinned_one(self):
        # The same authority is the host's as far as OpenSSL's variable says, and is not what ca_file names.
        with self.environment("SSL_CERT_FILE", self.tls.ca):
            server, driver = self.over(self.tls.server_context("good"), ca=Tls(self.files, "other-ca").ca)
            self.assert_not_believed(server, driver)

    def test_an_old_protocol_is_not_spoken(self):
        context = self.tls.server_context("good")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        server, driver = self.over(context)
        self.assert_not_believed(server, driver)

    def test_a_server_that_speaks_plain_http_behind_an_https_address_gets_nothing(self):
        server = self.serve(state=self.state)
        driver = self.drive(address=f"https://127.0.0.1:{server.port}", ca_file=self.tls.ca)
        self.assert_not_believed(server, driver)

    def test_a_client_certificate_is_shown_only_where_one_is_configured(self):
        context = self.tls.server_context("good", client_ca=True)
        context.verify_mode = ssl.CERT_REQUIRED
        server, driver = self.over(context)
        self.assertNotEqual(0, driver.read("db#password", 1500)["status"])
        cert, key = self.tls.issue("client")
        driver = self.drive(address=server.address, ca_file=self.tls.ca, client_cert_file=cert, client_key_file=key)
        self.assert_value("geheim-1", driver.read("db#password"))

    def test_no_proxy_of_the_environment_is_asked(self):
        with self.environment("https_proxy", "http://127.0.0.1:1"):
            _, driver = self.over(self.tls.server_context("good"))
        self.assert_value("geheim-1", driver.read("db#password"))

    def test_no_memory_keeps_what_came_over_tls(self):
        canary = "canary-" + "q" * 40
        self.state.kv_put("kv", "shop/canary", {"value": canary})
        _, driver = self.over(self.tls.server_context("good"))
        driver.say("read quietly prod canary 4500")
        self.assertEqual(0, driver.expect("tag", "quietly")["status"])
        for word in (canary, self.secret_id, next(iter(self.state.tokens))):
            driver.say("memory", "".join(chr(ord(c) ^ 1) for c in word))
            self.assertEqual(0, driver.expect("copies")["copies"], word)
