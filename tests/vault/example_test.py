"""examples/vault as it stands: its configuration is one, its policy on the server is enough and not too much, its names are found."""
import json
import pathlib
import re
import subprocess

from driver import EACCES, VaultCase

EXAMPLE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples/vault"


class Example(VaultCase):
    def prepare(self, state):
        super().prepare(state)
        text = (EXAMPLE / "mayfly-shop.hcl").read_text()
        state.policies["app"] = {path: set(json.loads(may)) for path, may in
                                 re.findall(r'path "([^"]+)" {\s*capabilities = (\[[^]]+])', text)}
        self.assertEqual(2, len(state.policies["app"]))
        state.kv_put("kv", "shop/api-key", {"value": "ein Schlüssel"})

    def test_the_names_of_the_compose_example_are_found(self):
        config = json.loads((EXAMPLE / "mayflyd.json").read_text())
        vault = config["sets"]["prod"]["vault"]
        vault.update(address=self.server.address)
        del vault["ca_file"]
        vault["auth"].update(role_id_file=str(self.files / "role-id"),
                             secret_id_file=self.secret_file("wrapped", self.state.wrap_secret_id("app")))
        driver = self.drive(sets=config["sets"])
        self.assert_value("geheim-1", driver.read("db-password"))
        self.assert_value("ein Schlüssel", driver.read("api-key"))
        self.state.kv_put("kv", "payroll/db", {"value": "x"})
        other = {"prod": {"provider": "vault", "vault": self.vault(prefix="payroll/")}}
        self.assertEqual(EACCES, self.drive(sets=other).read("db")["status"])

    def test_the_script_is_one(self):
        subprocess.run(["sh", "-n", EXAMPLE / "set-up-server"], check=True)
