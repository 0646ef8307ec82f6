"""The small server answers as the real one did: every recorded request again, in order, every answer compared. What differs
from one server to the next (ids, times, names of users) is compared by its form."""
import http.client
import json
import pathlib
import re
import unittest

from vault_server import VaultServer

RECORDINGS = pathlib.Path(__file__).parent / "recordings"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
FORMS = {  # keys whose values are each server's own
    "request_id": rf"(|{UUID})", "accessor": r"(|kv_[0-9a-f]{8}|[0-9A-Za-z+/=_-]{24})", "entity_id": UUID, "uuid": UUID,
    "client_token": r"[sb]\.[\w-]+", "token": r"s\.[\w-]+", "id": r"([sb]\.[\w-]+|database/creds/ro/\w{24})",
    "expire_time": TIME, "issue_time": TIME, "created_time": TIME, "updated_time": TIME, "creation_time": rf"({TIME}|\d+)",
    "last_renewal": TIME, "deletion_time": rf"(|{TIME})", "server_time_utc": r"\d{10}", "last_renewal_time": r"\d{10}",
    "lease_id": r"(|database/creds/ro/\w{24})", "password": r"[\w-]{3,20}", "username": r"v-approle-ro-\w{20}-\d{10}",
    "secret_id": UUID, "secret_id_accessor": UUID, "wrapped_accessor": UUID}
ROOT = "s.gwzQ5D6vylZn8udakJu81pZu"
APP = "s.VqdYiqSIMkUqNsaHUBHMwvR6"
READ = {"read", "list"}


class Recordings(unittest.TestCase):
    def setUp(self):
        self.server = VaultServer().__enter__()
        self.addCleanup(self.server.__exit__)
        state = self.server.state
        state.policies["app"] = {"secret/data/app/*": READ, "secret/metadata/app/*": READ, "secret/metadata/app": READ,
                                 "kv1/*": READ, "database/creds/*": READ, "sys/leases/revoke": {"update"}}
        state.mount("secret")
        state.mount("kv1", 1)
        state.databases["ro"] = (20, 60)
        state.token(["root"], 0, 0, ident=ROOT)
        state.role("app", ttl=30, max_ttl=90, role_id="2a575991-5794-3966-0d9b-fa0d4719515a")
        state.secret_id("app", ident="b255e573-98f0-7157-9715-a7f1adb603d1")
        state.role("once", ttl=5, max_ttl=5, role_id="4c60116c-e1d7-38d7-6ef5-6a4ccf0021e7")
        state.secret_id("once", 1, ident="9a84959a-d43d-a689-ed7f-3da44c6d4f93")
        state.role("batch", ttl=60, max_ttl=60, kind="batch", role_id="b5f14adf-35d5-a8c4-a5e3-0fdeaef95556")
        state.secret_id("batch", ident="186fe67b-5c9e-206d-88e3-776ba1ce8d38")
        self.leases = {}

    def app_token(self, ident=APP, ttl=3600):
        self.server.state.token(["app", "default"], ttl, ttl, role="app", ident=ident, path="auth/approle/login")

    def compare(self, where, recorded, got):
        self.assertEqual(type(recorded), type(got), where)
        if isinstance(recorded, dict):
            self.assertEqual(list(recorded), list(got), where)
            for key, value in recorded.items():
                if key in FORMS and value is not None and not isinstance(value, (dict, list)) and ".data.data" not in where:
                    self.assertRegex(str(got[key]), rf"^{FORMS[key]}$", f"{where}.{key}")
                    self.assertEqual(value == "", got[key] == "", f"{where}.{key}")
                    self.assertIs(type(value), type(got[key]), f"{where}.{key}")
                elif key == "ttl" and isinstance(value, int):
                    self.assertAlmostEqual(value, got[key], delta=1, msg=where)
                elif key != "version" or not isinstance(value, str):
                    self.compare(f"{where}.{key}", value, got[key])
        elif isinstance(recorded, list):
            self.assertEqual(len(recorded), len(got), where)
            for i, pair in enumerate(zip(recorded, got)):
                self.compare(f"{where}[{i}]", *pair)
        else:
            self.assertEqual(recorded, got, where)

    def replay(self, pair):
        request, recorded = pair["request"], pair["response"]
        body = request["body"]
        text = body if isinstance(body, str) else None if body is None else json.dumps(body)
        for known, mine in self.leases.items():
            text = text and text.replace(known, mine)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request(request["method"], request["path"], text and text.encode(), request["headers"])
        response = connection.getresponse()
        data = response.read()
        connection.close()
        with self.subTest(pair["name"]):
            self.assertEqual(recorded["status"], response.status, data)
            for name, value in recorded["headers"].items():
                shown = response.headers[name]
                self.assertTrue(abs(int(shown) - int(value)) <= 1 if name == "Retry-After" else shown == value, name)
            got = json.loads(data) if data else None
            self.compare(pair["name"], recorded["body"], got)
            if recorded["body"] and recorded["body"].get("lease_id"):
                self.leases[recorded["body"]["lease_id"]] = got["lease_id"]

    def play(self, name, before=lambda name: None):
        pairs = json.loads((RECORDINGS / f"{name}.json").read_text())
        for pair in pairs:
            before(pair["name"])
            self.replay(pair)
        return len(pairs)

    def test_health(self):
        state = self.server.state
        state.initialised = False

        def before(name):
            if name == "sealed":
                state.initialised, state.sealed = True, True
            if name.startswith("active"):
                state.sealed = False
            if name == "sealed again: health":
                state.sealed = True
        self.play("health", before)

    def test_auth(self):
        state = self.server.state
        state.next_ids = [APP, "s.bcDsuFJWtbVd1WnQRPolDQfh", json.loads((RECORDINGS / "auth.json").read_text())[6]["response"][
            "body"]["auth"]["client_token"]]
        self.app_token("s.OpTOroknLUK3dDtMLgKIFmLu")

        def before(name):
            if name == "token has expired":
                self.app_token("s.pb7tuK6iFWZJif6LmGp9yqUC", 5)
                state.clock.forward(6)
        self.play("auth", before)

    def test_wrapping(self):
        self.server.state.wrap_secret_id("app", ident="s.eqw4T39257AFTc4btBQppZF2")
        self.play("wrapping")

    def test_kv1(self):
        self.app_token()
        self.play("kv1")

    def test_kv2(self):
        self.app_token()
        self.play("kv2")

    def test_database(self):
        self.app_token("s.OpTOroknLUK3dDtMLgKIFmLu")
        self.play("database")
        # Of the two users that were made, the one whose lease was revoked is gone.
        self.assertEqual(1, len(self.server.state.users))

    def test_quota(self):
        self.server.state.kv_put("kv1", "app", {"password": "one", "ttl": "30s"})
        self.server.state.set_quota(1, 10)
        self.play("quota")

    def test_every_recording_is_played(self):
        played = set(re.findall(r'self\.play\("(\w+)"', pathlib.Path(__file__).read_text()))
        self.assertEqual(played, {file.stem for file in RECORDINGS.glob("*.json")})
