"""Figures of a set on a server, for tests/bench/bench.py: what a reading costs from memory and from the server, and what
many containers cost the server and us. The server is our own small one, in Python: its times are not a real one's."""
import pathlib
import re
import subprocess
import time

import driver as driver_module
import harness
from certificates import Tls
from vault_server import VaultServer

READ = {"read", "list"}


class Readings(driver_module.VaultCase):
    def figures(self):
        tls = Tls(self.files)
        server = self.serve(tls=tls.server_context("server"), state=self.state)
        driver = self.drive(address=server.address, ca_file=tls.ca)
        driver.read("db#password")
        for what, how, count in (("served from memory", "fresh", 20000), ("asked of the server each time, HTTPS", "asked", 3000)):
            driver.say("bench prod db#password", count, how)
            answer = driver.expect("bench", timeout=120)
            yield (f"readings {what}", f"{answer['per_s']:.0f}/s, p50 {answer['p50_us']} us, p99 {answer['p99_us']} us",
                   f"{count} readings, one after the other")


def readings():
    case = Readings()
    case.setUp()
    try:
        return list(case.figures())
    finally:
        case.doCleanups()


def proportional_kib(mayfly):
    return sum(int(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
               for pid in harness.processes_below(mayfly.process.pid))


def make(engine, plugin, server):
    mayfly = harness.Mayfly([engine], [plugin])
    files = mayfly.root / "files"
    files.mkdir()
    for name, text in (("role-id", server.state.role("app")), ("secret-id", server.state.secret_id("app"))):
        (files / name).write_text(text)
        (files / name).chmod(0o400)
        harness.os.chown(files / name, harness.USER, harness.USER)
    mayfly.config["sets"]["prod"] = {"provider": "vault", "vault": {
        "address": server.address, "mount": "kv", "prefix": "shop/",
        "auth": {"method": "approle", "role_id_file": str(files / "role-id"), "secret_id_file": str(files / "secret-id")}}}
    mayfly.write_config()
    return mayfly.start()


def start(engine, volume, count, at_once=10):
    for _ in range(0, count, at_once):
        started = [subprocess.Popen(["docker", "-H", f"unix://{engine.socket}", "run", "-d", "--network", "none", "--label",
                                     "com.docker.compose.project=bench", "-v", f"{volume}:/run/secrets:ro", harness.IMAGE,
                                     "sh", "-c", "cat /run/secrets/s0; sleep 900"], stdout=subprocess.DEVNULL)
                   for _ in range(at_once)]
        for process in started:
            process.wait()


def containers(engine, plugin, count):
    """COUNT containers with five secrets each: requests that reach the server, and memory."""
    with VaultServer() as server:
        server.state.policies["app"] = {"kv/data/shop/*": READ, "kv/metadata/shop/*": READ}
        server.state.mount("kv")
        for i in range(5):
            server.state.kv_put("kv", f"shop/s{i}", {"value": "x" * 32})
        mayfly = make(engine, plugin, server)
        try:
            mayfly.policy(harness.grant("bench", {"compose.project": "bench"}, *(f"s{i}" for i in range(5))))
            engine.docker("volume", "create", "-d", plugin, "vault-bench")
            before, began = proportional_kib(mayfly), time.monotonic()
            start(engine, "vault-bench", count)
            took = time.monotonic() - began
            harness.wait_for(lambda: mayfly.status()["released"] == count, "all are released", 120)
            time.sleep(1)
            after = proportional_kib(mayfly)
            reads = [path for _, _, path, _ in server.requests if re.search("/kv/data/", path)]
            yield (f"requests for the start of {count} containers with five secrets", f"{len(server.requests)}, of them "
                   f"{len(reads)} readings", f"in {took:.0f} s; a value serves for 60 s")
            yield (f"memory of all processes with {count} containers (PSS)", f"{after / 1024:.1f} MiB, {before / 1024:.1f} before",
                   "one OpenBao agent for each container: 72 MB, measured")
            at_rest = len(server.requests)
            time.sleep(30)
            yield ("requests in 30 s of steady state", f"{len(server.requests) - at_rest}", "token of 1 h; nothing is watched yet")
        finally:
            engine.remove_containers()
            engine.docker("volume", "rm", "vault-bench", check=False)
            mayfly.close()
