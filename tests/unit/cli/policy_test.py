"""Configuration and policy files as init, set create, allow and forbid change them: written, checked, put back."""
import fcntl
import json
import os
import pathlib
import shutil
import stat
import sys
import threading
import time

import stand_in
from stand_in import CONTAINER_ID, Error

bench = stand_in.Bench(*sys.argv[1:3])
ETC = bench.root / "etc/mayfly"
CONFIG = ETC / "mayflyd.json"
POLICY = ETC / "policy.d"
RELOADED = {"grants": 1, "restart_needed": []}
CHECKED = {"grants": 1, "complaints": [], "notes": [], "changes": []}
SETS = {"environment": "prod", "sets": [{"name": "prod", "provider": "store", "inherits": [], "secrets": 0, "is_environment": True}]}
STATUS = {"version": "1", "state": "uninitialised", "detail": "", "environment": None, "secrets": 0, "grants": 0, "armed": 0, "released": 0,
          "refused_while_locked": [], "engines": [], "audit_records": 0, "audit_head": "", "problems": [],
          "backends": [], "rotations": []}
SECRET = {"name": "prod/a", "current": 3, "versions": 5, "changed": "t", "removed": None}
SHOW = {"secret": SECRET, "found_in": "prod", "keep": 10, "bytes": 3, "lines": 1, "final_newline": False, "is_text": True}
LEASE = {"lease": "ab" * 32, "container": "web", "container_id": CONTAINER_ID, "engine": "docker", "volume": "v", "state": "released",
         "age_s": 60, "renewal": "t", "renewal_in_s": 2940, "unrenewed": "keep", "expires": None, "expires_in_s": None, "grants": ["web"],
         "files": [{"path": "x", "grant": "web", "secret": "prod/a", "version": 1}]}
GOOD = {"ListSets": SETS, "Show": SHOW, "CheckPolicy": CHECKED, "Reload": RELOADED, "ListLeases": {"leases": []}}
MISTAKE = {"where": "web.json:3", "text": "no such key", "nearest": "match"}


def fresh(config=None, **policies):
    """An empty root with these files."""
    shutil.rmtree(bench.root / "etc", ignore_errors=True)
    POLICY.mkdir(parents=True)
    if config is not None:
        CONFIG.write_text(config)
    for name, text in policies.items():
        (POLICY / f"{name}.json").write_text(text if isinstance(text, str) else json.dumps(text))
    bench.calls()


def policies():
    return {path.name: json.loads(path.read_text()) for path in POLICY.iterdir()}


def check_init_writes():
    bench.broker.replies = {"Status": STATUS, "Reload": RELOADED, "Init": {}}
    for name, before, after in (
            ("no file", None, '{\n  "environment": "prod",\n  "sets": {\n    "prod": {\n      "provider": "store"\n    }\n  }\n}\n'),
            ("other keys, whose order stays", '{"user": "m", "sets": {"dev": {"provider": "store"}}, "note": "n"}',
             '{\n  "user": "m",\n  "sets": {\n    "dev": {\n      "provider": "store"\n    },\n    "prod": {\n      "provider": "store"\n    }\n  },\n'
             '  "note": "n",\n  "environment": "prod"\n}\n'),
            ("the set is there", '{"sets": {"prod": {"provider": "store", "inherits": []}}}',
             '{\n  "sets": {\n    "prod": {\n      "provider": "store",\n      "inherits": []\n    }\n  },\n  "environment": "prod"\n}\n'),
            ("nothing to change", '{"environment":"prod"}', '{"environment":"prod"}')):
        fresh(before)
        result = bench.run("init", "--environment", "prod")
        bench.expect(f"init with {name}: exit status", result.returncode == 0, result)
        bench.expect(f"init with {name}: the file", CONFIG.read_text() == after, CONFIG.read_text())
        bench.expect(f"init with {name}: the calls", [c.method for c in bench.calls()] == ["Status", "Reload", "Init"])
        bench.expect(f"init with {name}: says where the key lies", b"same disk" in result.stderr, result.stderr)
    fresh()
    result = bench.run("init", "--environment", "prod", "--json", "--recovery-key-to", str(bench.root / "etc/key"))
    bench.expect("init --json", result.returncode == 0 and json.loads(result.stdout) == {}, result)


def check_init_refuses():
    bench.broker.replies = {"Status": STATUS, "Reload": RELOADED, "Init": {}}
    fresh('{"environment": "dev"}')
    result = bench.run("init", "--environment", "prod")
    bench.expect("another environment", result.returncode == 1 and b"'dev' already" in result.stderr and [c.method for c in bench.calls()] == ["Status"], result)
    result = bench.run("init")
    bench.expect("the environment that is there", result.returncode == 0, result)
    fresh()
    result = bench.run("init")
    bench.expect("no environment and no terminal", result.returncode == 2 and b"--environment SET" in result.stderr and not CONFIG.exists(), result)
    fresh("{\n\n,}")
    result = bench.run("init", "--environment", "prod")
    bench.expect("a file with a mistake", result.returncode == 1 and b"mayflyd.json:3" in result.stderr, result)
    for before in (None, '{"user": "m"}'):
        fresh(before)
        bench.broker.replies["Reload"] = Error("PolicyInvalid", {"complaints": [MISTAKE]})
        result = bench.run("init", "--environment", "prod")
        kept = CONFIG.read_text() if CONFIG.exists() else None
        bench.expect("a broker that refuses the file", result.returncode == 1 and kept == before and b"web.json:3: no such key" in result.stderr, (result, kept))
    bench.broker.replies = {"Status": {**STATUS, "state": "locked"}}
    fresh()
    result = bench.run("init", "--environment", "prod")
    bench.expect("a store that is there", result.returncode == 1 and b"already" in result.stderr and not CONFIG.exists(), result)


def check_set_create():
    bench.broker.replies = {"Reload": {"grants": 0, "restart_needed": ["sets.common"]}, "ListSets": SETS}
    fresh('{"environment": "prod", "sets": {"prod": {"provider": "store"}}}')
    result = bench.run("set", "create", "staging", "--inherits", "common,prod")
    written = json.loads(CONFIG.read_text())
    bench.expect("set create", result.returncode == 0 and written["sets"]["staging"] == {"provider": "store", "inherits": ["common", "prod"]}, (result, written))
    bench.expect("set create: a restart that is needed", b"restart of mayflyd is needed for: sets.common" in result.stderr, result.stderr)
    result = bench.run("set", "create", "staging")
    bench.expect("a set that is there", result.returncode == 1 and b"already" in result.stderr, result)
    result = bench.run("set", "create", "new", "--json")
    bench.expect("set create --json", json.loads(result.stdout) == SETS, result)
    before = CONFIG.read_text()
    bench.broker.replies = {"Reload": Error("Invalid", {"text": "sets.x inherits a set that is not there", "nearest": "common"})}
    result = bench.run("set", "create", "x", "--inherits", "comon")
    bench.expect("a broker that refuses the set", result.returncode == 1 and CONFIG.read_text() == before and b"did you mean common" in result.stderr, result)
    bench.calls()


# what it is, words, the grant that is written
ALLOWED = [
    ("a container", ["--name", "web", "--secret", "a"],
     {"name": "web", "match": {"container.name": "web"}, "secrets": [{"name": "a"}]}),
    ("everything", ["--name", "web*", "--grant", "g", "--label", "tier=db", "--label", "x=y=z", "--image-digest", "sha256:ab", "--set", "prod", "--secret",
                    "a=k/a:uid=5:gid=6:mode=440", "--secret", "b", "--require", "non_root", "--require", "privileged=allow"],
     {"name": "g", "match": {"container.name": "web*", "container.label.tier": "db", "container.label.x": "y=z", "image.digest": "sha256:ab"},
      "require": {"non_root": True, "privileged": "allow"}, "set": "prod",
      "secrets": [{"name": "a", "as": "k/a", "uid": 5, "gid": 6, "mode": "0440"}, {"name": "b"}]}),
]


def check_allow():
    bench.broker.replies = GOOD
    for what, words, grant in ALLOWED:
        fresh()
        result = bench.run("allow", *words, "--yes")
        bench.expect(f"allow {what}: exit status", result.returncode == 0, result)
        bench.expect(f"allow {what}: the file", policies() == {f"{grant['name']}.json": {"grants": [grant]}}, policies())
        bench.expect(f"allow {what}: its mode", stat.S_IMODE((POLICY / f"{grant['name']}.json").stat().st_mode) == 0o644)
        bench.expect(f"allow {what}: it is shown", f"grant {grant['name']}".encode() in result.stdout and b"Next: " in result.stdout, result.stdout)
        calls = bench.calls()
        bench.expect(f"allow {what}: checked, then read", [c.method for c in calls][-2:] == ["CheckPolicy", "Reload"], calls)
        bench.expect(f"allow {what}: what was checked", json.loads(calls[-2].parameters["files"][0]["text"]) == {"grants": [grant]}, calls[-2])
        fresh()
        result = bench.run("allow", *words, "--yes", "--json")
        bench.expect(f"allow {what} --json", json.loads(result.stdout)["content"] == grant, result)


def check_allow_adds():
    bench.broker.replies = GOOD
    by_hand = {"note": "by hand", "grants": [{"name": "other"}, {"name": "web", "match": {"container.name": "web"}, "secrets": [{"name": "a"}], "guard": "always"}]}
    fresh(shop=by_hand)
    result = bench.run("allow", "--name", "web", "--secret", "b", "--yes")
    by_hand["grants"][1]["secrets"].append({"name": "b"})
    bench.expect("allow adds to a grant by hand", result.returncode == 0 and policies() == {"shop.json": by_hand}, (result, policies()))
    bench.expect("allow shows what it does not know", b"guard    always" in result.stdout, result.stdout)
    before = (POLICY / "shop.json").stat().st_mtime_ns
    bench.calls()
    result = bench.run("allow", "--name", "web", "--secret", "b")
    bench.expect("allow of what is allowed", result.returncode == 0 and b"already" in result.stdout and (POLICY / "shop.json").stat().st_mtime_ns == before, result)
    bench.expect("allow of what is allowed: no reload", "Reload" not in [c.method for c in bench.calls()])
    result = bench.run("allow", "--name", "db", "--grant", "web", "--secret", "b", "--yes")
    bench.expect("the same name for other containers", result.returncode == 1 and b"--grant NAME" in result.stderr, result)
    fresh(web={"grants": [{"name": "x"}]})
    result = bench.run("allow", "--name", "web", "--secret", "b", "--yes")
    bench.expect("a file of that name without that grant", [g["name"] for g in policies()["web.json"]["grants"]] == ["x", "web"], result)


def check_allow_refused():
    for method, answer, says in (
            ("CheckPolicy", {**CHECKED, "complaints": [MISTAKE]}, b"web.json:3: no such key; did you mean 'match'?"),
            ("Reload", Error("PolicyInvalid", {"complaints": [MISTAKE]}), b"is as it was")):
        for before in ({}, {"web": {"grants": [{"name": "web", "match": {"container.name": "web"}, "secrets": []}]}}):
            fresh(**before)
            bench.broker.replies = {**GOOD, method: answer}
            result = bench.run("allow", "--name", "web", "--secret", "a", "--yes")
            bench.expect(f"allow refused by {method}", result.returncode == 1 and says in result.stderr and
                         policies() == {f"{k}.json": v for k, v in before.items()}, (result, policies()))
    fresh()
    bench.broker.replies = GOOD
    result = bench.run("allow", "--name", "web", "--secret", "a")
    bench.expect("allow without a terminal needs --yes", result.returncode == 2 and b"--yes" in result.stderr and policies() == {}, result)
    fresh(broken="{")
    result = bench.run("allow", "--name", "web", "--secret", "a", "--yes")
    bench.expect("allow beside a file that is no JSON", result.returncode == 1 and b"broken.json:1" in result.stderr, result)
    fresh()
    result = bench.run("allow", "--name", "web", "--grant", "../x", "--secret", "a", "--yes")
    bench.expect("a grant whose name is a path", result.returncode == 2 and policies() == {}, result)
    bench.calls()


def check_allow_big():
    """A policy that no message can hold is checked by the reload alone."""
    bench.broker.replies = GOOD
    fresh(big={"grants": [], "note": "x" * 300000})
    (POLICY / "huge.json").write_text(json.dumps({"grants": [{"name": f"g{i}", "note": "x" * 300} for i in range(1000)]}))
    result = bench.run("allow", "--name", "web", "--secret", "a", "--yes")
    bench.expect("allow with a big policy", result.returncode == 0 and [c.method for c in bench.calls()][-1] == "Reload", result.stderr[:300])


def check_allow_warns():
    fresh()
    bench.broker.replies = {**GOOD, "Show": Error("NotFound", {"text": "no", "nearest": None})}
    result = bench.run("allow", "--name", "web", "--secret", "a", "--yes")
    bench.expect("a secret that is not there yet", result.returncode == 0 and b"prod/a does not exist yet: mayfly put prod/a" in result.stderr, result)
    bench.broker.replies = {**GOOD, "Show": Error("Locked", {"text": "locked"})}
    result = bench.run("allow", "--name", "db", "--secret", "a", "--yes")
    bench.expect("a locked store is no obstacle", result.returncode == 0 and b"is not known: locked" in result.stderr, result)
    bench.broker.replies = GOOD
    result = bench.run("allow", "--name", "x", "--secret", "prod/a", "--yes")
    bench.expect("a set where a name belongs", b"without their set; 'prod/a' should probably be 'a'" in result.stderr, result)
    bench.broker.replies = {**GOOD, "CheckPolicy": {**CHECKED, "notes": [{"where": "y.json:2", "text": "rests on a name", "nearest": None}]}}
    result = bench.run("allow", "--name", "y", "--secret", "a", "--yes")
    bench.expect("the broker's notes", b"note: y.json:2: rests on a name" in result.stderr, result)
    bench.calls()


WEB = {"name": "web", "match": {"container.name": "web"}, "secrets": [{"name": "a"}, {"name": "b"}, {"name": "a", "as": "c"}]}


def check_forbid():
    bench.broker.replies = {**GOOD, "ListLeases": {"leases": [LEASE]}}
    fresh(web={"grants": [WEB]})
    result = bench.run("forbid", "web", "--yes")
    bench.expect("forbid a grant: its file is gone", result.returncode == 0 and policies() == {}, (result, policies()))
    bench.expect("forbid: who keeps it", b"web (0123456789ab)" in result.stdout and b"within 49 min" in result.stdout, result.stdout)
    bench.calls()
    fresh(web={"note": "n", "grants": [WEB, {"name": "x", "secrets": []}]})
    result = bench.run("forbid", "web", "--yes", "--json")
    bench.expect("forbid one of two", policies() == {"web.json": {"note": "n", "grants": [{"name": "x", "secrets": []}]}}, policies())
    bench.expect("forbid --json", json.loads(result.stdout) == {"grant": "web", "file": "web.json", "file_removed": False, "leases": [LEASE]}, result)
    fresh(web={"grants": [WEB]})
    result = bench.run("forbid", "web", "--secret", "a", "--yes")
    bench.expect("forbid a secret", policies()["web.json"]["grants"][0]["secrets"] == [{"name": "b"}] and b"web (0123" in result.stdout, (result, policies()))
    result = bench.run("forbid", "web", "--secret", "b", "--yes")
    bench.expect("forbid the last secret", policies() == {} and b"No running container" in result.stdout, (result, policies()))


def check_forbid_refused():
    bench.broker.replies = GOOD
    fresh(web={"grants": [{**WEB, "secrets": WEB["secrets"] + [{"template": "x{{t|url}}", "as": "u"}]}]})
    before = policies()
    for words, status, says in ((["forbid", "wbe", "--yes"], 1, b"did you mean 'web'"), (["forbid", "web", "--secret", "z", "--yes"], 1, b"does not give 'z'"),
                                (["forbid", "web", "--secret", "t", "--yes"], 1, b"template"), (["forbid", "web"], 2, b"--yes")):
        result = bench.run(*words)
        bench.expect(f"{words}", result.returncode == status and says in result.stderr and policies() == before, result)
    bench.broker.replies = {**GOOD, "Reload": Error("Failed", {"text": "no"})}
    result = bench.run("forbid", "web", "--yes")
    bench.expect("forbid refused by the broker: the file is back", result.returncode == 1 and policies() == before, (result, policies()))


def check_policy_check_files():
    bench.broker.replies = GOOD
    path = bench.root / "new.json"
    path.write_text('{"grants": []}')
    result = bench.run("policy", "check", str(path))
    bench.calls_seen = bench.calls()
    bench.expect("policy check FILE", result.returncode == 0 and bench.calls_seen[-1].parameters == {"files": [{"name": str(path), "text": '{"grants": []}'}]}, result)
    result = bench.run("policy", "check", "/nonexistent")
    bench.expect("policy check of no file", result.returncode == 1, result)


def check_without_rights():
    ordinary = stand_in.ordinary_user()
    if ordinary is None:
        return
    fresh('{"environment": "prod"}')
    bench.root.chmod(0o755)
    bench.broker.path.chmod(0o666)
    bench.broker.replies = {**GOOD, "Status": STATUS}
    for path in (ETC, POLICY):
        path.chmod(0o555)
    for words in (["allow", "--name", "web", "--secret", "a", "--yes"], ["set", "create", "x"]):
        result = bench.run(*words, before=ordinary)
        bench.expect(f"{words} without rights", result.returncode == 1 and b"run it as root" in result.stderr, result)
    bench.broker.path.chmod(0o600)
    if os.geteuid() == 0:
        result = bench.run("status", before=ordinary)
        bench.expect("a socket that is not for everybody", result.returncode == 3 and b"operator group" in result.stderr, result)
    for path in (ETC, POLICY):
        path.chmod(0o755)


def check_lock():
    """Two edits at a time wait for one another."""
    fresh(web={"grants": [WEB]})
    bench.broker.replies = GOOD
    directory = os.open(POLICY, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    timer = threading.Timer(1.0, os.close, [directory])
    timer.start()
    started = time.monotonic()
    result = bench.run("allow", "--name", "web", "--secret", "z", "--yes")
    bench.expect("an edit waits for another", result.returncode == 0 and time.monotonic() - started > 0.8, result)


def check_concurrent_edit():
    """Another editor's change between reading and writing is not lost."""
    fresh(web={"grants": [WEB]})

    def change(call):
        del call
        (POLICY / "web.json").write_text('{"grants": [], "note": "mine"}')
        return CHECKED

    bench.broker.replies = {**GOOD, "CheckPolicy": change}
    result = bench.run("allow", "--name", "web", "--secret", "z", "--yes")
    bench.expect("a file that was changed meanwhile", result.returncode == 1 and b"meanwhile" in result.stderr and
                 policies() == {"web.json": {"grants": [], "note": "mine"}}, result)


pathlib.Path(ETC).mkdir(parents=True, exist_ok=True)
for check in [value for name, value in list(globals().items()) if name.startswith("check_")]:
    check()
bench.finish()
