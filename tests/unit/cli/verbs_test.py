"""Every verb against a stand-in broker: what it calls, what it prints with and without --json, its exit status."""
import json
import os
import pathlib
import subprocess
import sys

import stand_in
from stand_in import CONTAINER_ID, Error, Gone, Stream

bench = stand_in.Bench(*sys.argv[1:3])
TIME = "2025-01-02T03:04:05Z"
SECRET = {"name": "prod/a", "current": 3, "versions": 2, "changed": TIME, "removed": None}
SHOW = {"secret": SECRET, "found_in": "common", "keep": 10, "bytes": 32, "lines": 1, "final_newline": False, "is_text": True}
SLOTS = {"slots": [{"id": 1, "kind": "host_key", "created": TIME}, {"id": 2, "kind": "recovery", "created": TIME}]}
BY_PASSPHRASE = {"slots": [{"id": 3, "kind": "passphrase", "created": TIME}]}
STATUS = {
    "version": "0.1.0", "state": "unlocked", "detail": "", "environment": "prod", "secrets": 12, "grants": 3, "armed": 1,
    "released": 4, "refused_while_locked": [], "audit_records": 99, "audit_head": "ab" * 32, "problems": [], "rotations": [], "backends": [],
    "engines": [{"name": "docker", "kind": "docker", "state": "connected", "detail": "", "version": "28.5.2"}],
}
BEGUN = {"rotation": "ab" * 8, "event": "begun", "secrets": [{"set": "prod", "name": "a", "before": 3, "after": 4}], "containers": 2}
PREPARED = {"outcome": "prepared", "version": 4, "current": 3}
CHANGED = {"rotation": "ab" * 8, "event": "container", "container": "web-1", "container_id": CONTAINER_ID, "text": ""}
OVER = {"rotation": "ab" * 8, "event": "over", "outcome": "rotated", "containers": 2, "failed": 0}
DECISION = {
    "time": TIME, "outcome": "refused", "engine": "docker", "container": "shop-web-1", "container_id": CONTAINER_ID,
    "volume": "shop_secrets", "mount_id": "m", "summary": "no grant matches shop-web-1 (project shop, service web)",
    "steps": [
        {"step": "identity", "outcome": "passed", "evidence": "the engine says so"},
        {"step": "match", "outcome": "failed", "evidence": "compose.project is 'shop', the grant wants 'store' " * 3},
        {"step": "posture", "outcome": "noted", "evidence": "runs as root"},
    ],
}
LEASE = {
    "lease": "ab" * 32, "container": "shop-web-1", "container_id": CONTAINER_ID, "engine": "docker", "volume": "v", "state": "released",
    "age_s": 90, "renewal": TIME, "renewal_in_s": 3510, "unrenewed": "keep", "expires": None, "expires_in_s": None,
    "grants": ["shop-web"], "files": [{"path": p, "grant": "shop-web", "secret": "prod/a", "version": 1} for p in "ab"],
}
ENDING = {**LEASE, "unrenewed": "empty", "expires": TIME, "expires_in_s": 7300}
SETS = {"environment": "prod", "sets": [
    {"name": "prod", "provider": "store", "inherits": ["common"], "secrets": 7, "is_environment": True},
    {"name": "common", "provider": "store", "inherits": [], "secrets": 0, "is_environment": False}]}
GRANT = {"name": "shop-web", "match": {"compose.project": "shop"}, "secrets": [{"name": "a", "as": "b", "uid": 5}], "guard": "always"}
RECORD = {"seq": 1, "time": "2025-01-02T03:04:05.678Z", "boot": "b", "uptime_ms": 1, "epoch": 1, "action": "release", "decision": "granted",
          "engine": "docker", "container": "shop-web-1", "container_id": CONTAINER_ID, "volume": "shop_secrets", "mount_id": "ab" * 32,
          "grants": ["shop-web", "shop-all"], "image_id": "sha256:ab", "mac": "cc", "secrets": [
              {"path": "a", "set": "prod", "name": "a", "version": 3}, {"path": "b", "set": "prod", "name": "a", "version": 3},
              {"path": "c", "set": "common", "name": "c", "version": 1}]}
# What a person reads of a record: who did what to what, how it ended, why. Columns 1 to 31 are time and outcome.
LEFT = " " * 31
READ = [
    (RECORD, f"{TIME}  granted  shop-web-1 (0123456789ab): release shop_secrets:\n{LEFT}prod/a version 3, common/c version 1, by grant\n"
             f"{LEFT}shop-web and shop-all\n"),
    ({"time": TIME, "action": "put", "decision": "refused", "set": "prod", "name": "a", "actor": {"kind": "operator", "uid": 0, "gid": 0, "pid": 9},
      "reason": "prod/a has another value already"}, f"{TIME}  refused  root: put prod/a\n{LEFT}prod/a has another value already\n"),
    ({"time": TIME, "action": "lock", "decision": "granted", "actor": {"kind": "operator", "uid": 0, "gid": 0, "pid": 9, "login_uid": 4242}},
     f"{TIME}  granted  uid 4242 as root: lock\n"),
    ({"time": TIME, "action": "audit-cut", "decision": "done", "bytes": 12}, f"{TIME}  done     mayfly: audit-cut, bytes 12\n"),
    ({"time": TIME, "action": "open", "decision": "refused", "container": "x\x1b[31m", "reason": "a\nfalse line"},
     f"{TIME}  refused  x?[31m: open\n{LEFT}a false line\n"),
]
CHECKS = [
    {"name": "kernel", "outcome": "ok", "text": "6.18", "advice": None},
    {"name": "swap", "outcome": "warning", "text": "swap is on", "advice": "encrypt it"},
]
POLICY = {"grants": 3, "complaints": [], "notes": [{"where": "a.json:3", "text": "rests on labels", "nearest": None}], "changes": [
    {"container": "web", "container_id": CONTAINER_ID, "before": "a", "after": "a, b"}]}

# verb, words, answers, (method, parameters) of the last call, what standard output has, exit status, JSON that differs from the answer
ROWS = [
    ("unlock", ["unlock"], {"ListSlots": BY_PASSPHRASE, "Unlock": {"waiting": ["web-1", "db-1"]}}, ("Unlock", {"passphrase_fd": 0}),
     "docker start web-1 db-1", 0, None),
    ("unlock", ["unlock"], {"ListSlots": SLOTS, "Unlock": {"waiting": []}}, ("Unlock", {}), "unlocked", 0, None),
    ("unlock", ["unlock", "--recovery"], {"Unlock": {"waiting": []}}, ("Unlock", {"recovery_fd": 0}), "unlocked", 0, None),
    ("lock", ["lock"], {"Lock": {}}, ("Lock", {}), "locked", 0, None),
    ("key list", ["key", "list"], {"ListSlots": SLOTS}, ("ListSlots", {}), "host-key", 0, None),
    ("key add", ["key", "add", "host-key"], {"AddSlot": {"slot": SLOTS["slots"][0]}}, ("AddSlot", {"kind": "host_key"}), "key 1 (host-key)", 0, None),
    ("key add", ["key", "add", "passphrase"], {"AddSlot": {"slot": {"id": 3, "kind": "passphrase", "created": TIME}}},
     ("AddSlot", {"kind": "passphrase", "passphrase_fd": 0}), "key 3", 0, None),
    ("key remove", ["key", "remove", "2", "--yes"], {"RemoveSlot": {}}, ("RemoveSlot", {"id": 2}), "key 2 is removed", 0, None),
    ("put", ["put", "prod/a"], {"Put": {"outcome": "created", "version": 1}}, ("Put", {"name": "prod/a", "value_fd": 0}), "stored (version 1)", 0, None),
    ("put", ["put", "prod/a"], {"Put": {"outcome": "unchanged", "version": 4}}, ("Put", {"name": "prod/a", "value_fd": 0}), "unchanged", 0, None),
    ("put", ["put", "prod/a", "--stage"], {"Put": {"outcome": "staged", "version": 5}},
     ("Put", {"name": "prod/a", "value_fd": 0, "stage": True}), "version 5 is staged", 0, None),
    ("generate", ["generate", "prod/a"], {"Generate": {"version": 1}}, ("Generate", {"name": "prod/a"}), "generated (version 1)", 0, None),
    ("generate", ["generate", "prod/a", "--length", "6", "--charset", "0123456789"], {"Generate": {"version": 1}},
     ("Generate", {"name": "prod/a", "length": 6, "charset": "0123456789"}), "generated", 0, None),
    ("generate", ["generate", "prod/a", "--charset", "hex"], {"Generate": {"version": 1}},
     ("Generate", {"name": "prod/a", "charset": "0123456789abcdef"}), "generated", 0, None),
    ("generate", ["generate", "prod/a", "--bytes", "32", "--stage"], {"Generate": {"version": 2}},
     ("Generate", {"name": "prod/a", "bytes": 32, "stage": True}), "generated", 0, None),
    ("rotate", ["rotate", "prod/a"], {"Prepare": PREPARED, "Rotate": Stream([BEGUN, OVER])},
     ("Rotate", {"names": ["prod/a"], "canary": 0, "apply": False}), "version 4 is in force", 0, BEGUN),
    ("rotate", ["rotate", "prod/a", "--discard"], {"Discard": {"version": 4}}, ("Discard", {"name": "prod/a"}), "version 4 is discarded", 0, None),
    ("rollback", ["rollback", "prod/a"], {"Prepare": PREPARED, "Rotate": Stream([BEGUN, OVER])},
     ("Rotate", {"names": ["prod/a"], "canary": 0, "apply": False}), "2 containers get it now", 0, BEGUN),
    ("list", ["list"], {"List": Stream([{"secrets": [SECRET]}, {"secrets": [{**SECRET, "name": "prod/" + "x" * 100}]}])}, ("List", {}), "prod/a", 0,
     {"secrets": [SECRET, {**SECRET, "name": "prod/" + "x" * 100}]}),
    ("list", ["ls", "prod", "--prefix", "db", "--removed"], {"List": {"secrets": [{**SECRET, "removed": TIME}]}},
     ("List", {"set": "prod", "prefix": "db", "removed": True}), "REMOVED", 0, None),
    ("show", ["show", "prod/a"], {"Show": SHOW}, ("Show", {"name": "prod/a"}), "common, which prod inherits", 0, None),
    ("history", ["history", "prod/a"], {"History": {"versions": [{"number": 3, "state": "current", "created": TIME, "bytes": 5}]}},
     ("History", {"name": "prod/a"}), "current", 0, None),
    ("verify", ["verify", "prod/a"], {"Verify": {"same": True, "version": 3}}, ("Verify", {"name": "prod/a", "value_fd": 0}), "same", 0, None),
    ("verify", ["verify", "prod/a", "--version", "2"], {"Verify": {"same": False, "version": 2}},
     ("Verify", {"name": "prod/a", "value_fd": 0, "version": 2}), "differs", 1, None),
    ("keep", ["keep", "prod/a", "5"], {"Show": SHOW, "Keep": {"destroyed": 0}}, ("Keep", {"name": "prod/a", "versions": 5}), "at most 5 versions", 0, None),
    ("keep", ["keep", "prod/a", "1", "--yes"], {"Show": SHOW, "Keep": {"destroyed": 1}}, ("Keep", {"name": "prod/a", "versions": 1}), "1 destroyed", 0, None),
    ("remove", ["remove", "prod/a"], {"Remove": {"versions": 2}}, ("Remove", {"name": "prod/a"}), "mayfly undelete prod/a", 0, None),
    ("remove", ["rm", "prod/a", "--purge", "-y"], {"Remove": {"versions": 1}}, ("Remove", {"name": "prod/a", "purge": True}), "1 version destroyed", 0, None),
    ("undelete", ["undelete", "prod/a"], {"Undelete": {"version": 3}}, ("Undelete", {"name": "prod/a"}), "version 3 is current", 0, None),
    ("set list", ["set", "list"], {"ListSets": SETS}, ("ListSets", {}), "prod (environment)", 0, None),
    ("set fill", ["set", "fill", "dev"], {"FillSet": {"created": ["dev/a"], "present": 2}}, ("FillSet", {"set": "dev"}), "generated dev/a", 0, None),
    ("diff", ["diff", "dev", "prod"], {"Diff": {"only_left": ["x"], "only_right": [], "both": 4,
     "needed_by_grants": [{"name": "x", "grant": "g", "missing_in": "prod"}]}}, ("Diff", {"left": "dev", "right": "prod"}), "prod/x  (grant g)", 0, None),
    ("policy check", ["policy", "check"], {"CheckPolicy": {**POLICY, "changes": []}}, ("CheckPolicy", {"files": []}), "3 grants, no mistakes", 0, None),
    ("policy check", ["policy", "check", "--against-running"], {"CheckPolicy": POLICY},
     ("CheckPolicy", {"files": [], "against_running": True}), "after   a, b", 0, None),
    ("policy check", ["policy", "check"], {"CheckPolicy": {**POLICY, "complaints": [{"where": "a:1", "text": "bad", "nearest": None}]}},
     ("CheckPolicy", {"files": []}), "", 1, None),
    ("policy show", ["policy", "show", "shop-web"], {"ShowPolicy": {"grants": [GRANT]}}, ("ShowPolicy", {"grant": "shop-web"}), "a as b: uid 5", 0, None),
    ("policy reload", ["policy", "reload"], {"Reload": {"grants": 3, "restart_needed": ["user"]}}, ("Reload", {}), "3 grants", 0, None),
    ("explain", ["explain"], {"Explain": {"decision": DECISION}}, ("Explain", {}), "  no    match", 0, None),
    ("explain", ["explain"], {"Explain": Error("NotFound", {"text": "nothing was refused"})}, ("Explain", {}), "Nothing was refused.", 0, {"decision": None}),
    ("explain", ["explain", "web"], {"Explain": {"decision": DECISION}}, ("Explain", {"container": "web"}), "refused", 0, None),
    ("status", ["status"], {"Status": STATUS}, ("Status", {}), "connected, version 28.5.2", 0, None),
    ("status", ["status"], {"Status": {**STATUS, "rotations": [{"id": "ab" * 8, "secrets": BEGUN["secrets"], "state": "watched", "reached": 2,
     "containers": 2}]}}, ("Status", {}), "to 2 of 2 containers, whose health is watched: prod/a", 0, None),
    ("status", ["status", "--check"], {"Status": STATUS}, ("Status", {}), "MAYFLY OK - unlocked | secrets=12", 0, None),
    ("status", ["status", "--check"], {"Status": {**STATUS, "problems": ["audit is slow"]}}, ("Status", {}), "MAYFLY WARNING - unlocked: audit is slow", 1, None),
    ("status", ["status", "--check"], {"Status": {**STATUS, "state": "locked", "detail": "since boot"}}, ("Status", {}), "MAYFLY CRITICAL - locked", 2, None),
    ("audit", ["audit"], {"ReadAudit": Stream([{"records": [RECORD]}, {"records": [RECORD]}])}, ("ReadAudit", {"last": 100}),
     READ[0][1] * 2, 0, {"records": [RECORD, RECORD]}),
    *[("audit", ["audit"], {"ReadAudit": {"records": [record]}}, ("ReadAudit", {"last": 100}), text, 0, None) for record, text in READ],
    ("audit", ["audit", "--secret", "prod/a", "--refused", "--since", TIME, "--last", "5"], {"ReadAudit": {"records": []}},
     ("ReadAudit", {"secret": "prod/a", "refused": True, "since": TIME, "last": 5}), "", 0, {"records": []}),
    ("leases", ["leases"], {"ListLeases": Stream([{"leases": [LEASE]}, {"leases": [LEASE]}])}, ("ListLeases", {}),
     "shop-web-1 (0123456789ab)\n  lease    abababababab, 90 s old, renewed within 58 min, no hard end\n  grants   shop-web\n"
     "  secrets  prod/a version 1\n",
     0, {"leases": [LEASE, LEASE]}),
    ("leases", ["leases", "prod/a", "--grant", "g", "--container", "c"], {"ListLeases": {"leases": [ENDING]}},
     ("ListLeases", {"secret": "prod/a", "grant": "g", "container": "c"}), "emptied in 2 h 1 min,\n           emptied if not renewed\n", 0, None),
    ("leases", ["leases"], {"ListLeases": {"leases": []}}, ("ListLeases", {}), "No running container has it.", 0, None),
    ("revoke", ["revoke", "--secret", "prod/a", "--container", "web", "-y"], {"ListLeases": {"leases": [LEASE]}, "Revoke": {"revoked": 1}},
     ("Revoke", {"secret": "prod/a", "container": "web"}), "The grants remain", 0, None),
    ("revoke", ["revoke", "ababab", "--yes"], {"ListLeases": {"leases": [LEASE]}, "Revoke": {"revoked": 1}}, ("Revoke", {"lease": "ababab"}),
     "1 container loses files now", 0, None),
    ("revoke", ["revoke", "--all", "--yes"], {"ListLeases": {"leases": [LEASE, LEASE]}, "Revoke": {"revoked": 2}}, ("Revoke", {"all": True}),
     "Emptied in 2 containers", 0, None),
    ("audit verify", ["audit", "verify"], {"VerifyAudit": {"records": 9, "first": TIME, "last": TIME, "head": "ab"}}, ("VerifyAudit", {}), "not proved", 0, None),
    ("doctor", ["doctor"], {"Doctor": {"checks": CHECKS}}, ("Doctor", {}), "encrypt it", 0, None),
    ("doctor", ["doctor"], {"Doctor": {"checks": [{"name": "k", "outcome": "failed", "text": "old", "advice": "new"}]}}, ("Doctor", {}), "1 failed", 1, None),
]
VALUE = b"canary-value-4711"
# Driven in the other test programs of this folder.
# Backups and imports need a broker that keeps values: tests/flow/backup_test.py, import_test.py.
ELSEWHERE = {"backup", "restore", "key backup", "import", "init", "key rotate", "set create", "allow", "forbid", "compose", "compose convert", "reveal"}


def check_row(verb, words, answers, called, shows, status, as_json):
    bench.broker.replies = dict(answers)
    result = bench.run(*words, stdin=VALUE + b"\n")
    calls = bench.calls()
    name = f"mayfly {' '.join(words)}"
    bench.expect(f"{name}: exit status", result.returncode == status, (result.returncode, result.stderr))
    bench.expect(f"{name}: last call", calls and (calls[-1].method, calls[-1].parameters) == called, calls)
    bench.expect(f"{name}: words", shows in result.stdout.decode(), result.stdout)
    # A name of 100 letters, a chain's head and the line for a monitoring program are as long as they are.
    lines = [line for line in result.stdout.decode().split("\n") if "x" * 50 not in line and "ab" * 30 not in line and " | secrets=" not in line]
    bench.expect(f"{name}: 80 columns", max(map(len, lines), default=0) <= 80, result.stdout)
    for content in (result.stdout, result.stderr):
        bench.expect(f"{name}: says no value", VALUE not in content)
    bench.broker.replies = dict(answers)
    result = bench.run(*words, "--json", stdin=VALUE)
    bench.calls()
    answer = as_json or answers[called[0]]
    bench.expect(f"{name} --json: exit status", result.returncode == status, result)
    bench.expect(f"{name} --json: the broker's answer", json.loads(result.stdout) == answer, result.stdout)
    bench.expect(f"{name} --json: pretty", not answer or b"\n  " in result.stdout, result.stdout)


def check_rows():
    bench.broker.secrets = [VALUE]
    for row in ROWS:
        check_row(*row)


def check_every_verb_was_run():
    table = bench.run("help", "--names").stdout.decode().split("\n")[:-1]
    run = {row[0] for row in ROWS} | ELSEWHERE | {"get", "help", "completion", "version"}
    bench.expect("every verb is driven", set(table) == run, set(table) ^ run)
    for verb in table:
        result = bench.run(*verb.split(), "--help")
        bench.expect(f"mayfly {verb} --help", result.returncode == 0 and b"\nExample\n  " in result.stdout, result)
        bench.expect(f"mayfly {verb} --help: 80 columns", max(map(len, result.stdout.decode().split("\n"))) <= 80, result.stdout)


def error_parameters(name):
    known = {"text": "the words of the broker", "nearest": "prod/near", "complaints": [{"where": "x.json:7", "text": "odd", "nearest": "even"}]}
    return {key: known[key] for key in bench.interface.errors[name][1]}


def check_errors():
    for name in bench.interface.errors:
        parameters = error_parameters(name)
        bench.broker.replies = {"Show": Error(name, parameters)}
        for extra in ([], ["--json"]):
            result = bench.run("show", "prod/a", *extra)
            said = result.stderr.decode()
            bench.expect(f"error {name}: exit status", result.returncode == 1 and not result.stdout, result)
            bench.expect(f"error {name}: what was tried", "mayfly: show prod/a: " in said, said)
            bench.expect(f"error {name}: at most two lines", len(said.split("\n")[:-1]) <= 2 + ("complaints" in parameters), said)
            for value in [v for v in parameters.values() if isinstance(v, str)]:
                bench.expect(f"error {name}: the broker's words", value in said, said)
            if "complaints" in parameters:
                bench.expect(f"error {name}: the complaint", "x.json:7: odd; did you mean 'even'?" in said, said)
    bench.broker.replies = {"Put": Error("Exists", {"text": "other bytes are there (version 3)"})}
    said = bench.run("put", "prod/a", stdin=VALUE).stderr.decode()
    bench.expect("put refuses other bytes with the way out", "`mayfly rotate`" in said and "--stage" in said, said)
    for words, advice in ((["show", "prod/a"], "mayfly list"), (["explain", "x"], "docker ps -a"), (["policy", "show", "x"], "mayfly policy show")):
        bench.broker.replies = {m: Error("NotFound", {"text": "nothing of that name", "nearest": None}) for m in ("Show", "Explain", "ShowPolicy")}
        said = bench.run(*words).stderr.decode()
        bench.expect(f"{words} that is not there", said.count("\n") == 2 and advice in said.split("\n")[1], said)
    bench.broker.replies = {"Show": Error("Locked", {"text": "locked since boot; run `mayfly unlock`"})}
    said = bench.run("show", "prod/a").stderr.decode()
    bench.expect("advice is given once", said.count("mayfly unlock") == 1, said)


def check_foreign_errors():
    for name, parameters, status in (
            ("org.varlink.service.MethodNotFound", {"method": "x"}, 3), ("org.varlink.service.PermissionDenied", {}, 1),
            ("org.varlink.service.InvalidParameter", {"parameter": "name"}, 1), ("com.example.Strange\x1b[31m", {}, 3)):
        bench.broker.replies = {"Status": Error(name, parameters)}
        result = bench.run("status")
        bench.expect(f"{name}", result.returncode == status and result.stderr and b"\x1b" not in result.stderr, result)


def check_unreachable():
    bench.broker.replies = {"Status": Gone}
    result = bench.run("status")
    bench.expect("a broker that hangs up", result.returncode == 3 and b"log" in result.stderr, result)
    for row in ROWS:
        result = bench.run("--root", "/nonexistent/mayfly", *row[1], stdin=VALUE)
        bench.expect(f"mayfly {' '.join(row[1])} without a broker", result.returncode == 3 and b"mayflyd" in result.stderr, result)
    result = bench.run("--root", "/" + "x" * 200, "status")
    bench.expect("a path that no socket can have", result.returncode == 3, result)


def check_usage():
    bench.broker.replies = {"Status": {**STATUS, "state": "uninitialised"}, "List": {"secrets": []}}
    for words in (["banana"], ["put"], ["put", "x/y", "z"], ["list", "--wait"], ["show", "no-set"], ["show", "prod/../x"], ["keep", "prod/a", "0"],
                  ["keep", "prod/a", "101"], ["generate", "prod/a", "--length", "0"], ["generate", "prod/a", "--bytes", "5", "--length", "5"],
                  ["generate", "prod/a", "--charset", "aa"], ["set", "create", "environment"], ["allow", "--secret", "a"], ["allow", "--name", "x"],
                  ["list", "prod/a"], ["remove", "prod/a", "--purge"], [], ["key"], ["reveal", "prod/a", "--json"], ["completion", "fish"],
                  ["audit", "--last", "x"], ["init"]):
        result = bench.run(*words, stdin=VALUE)
        bench.expect(f"usage: mayfly {' '.join(words)}", result.returncode == 2, result)


def check_get():
    bench.calls()
    result = bench.run("get", "prod/a")
    bench.expect("get prints no value", result.returncode == 1 and b"mayfly reveal prod/a" in result.stderr and not bench.calls(), result)


def check_steering():
    evil = "a\x1b]0;owned\x07\x9b31m"
    bench.broker.replies = {"Explain": {"decision": {**DECISION, "container": evil, "summary": evil}}}
    for words in (["explain"], ["explain", "--json"]):
        result = bench.run(*words)
        bench.expect("names cannot steer a terminal", not any(b in result.stdout for b in (b"\x1b", b"\x07", b"\xc2\x9b")), result.stdout)
    bench.broker.replies = {"Show": Error("Failed", {"text": evil})}
    result = bench.run("show", "prod/a")
    bench.expect("errors cannot steer a terminal", b"\x1b" not in result.stderr, result.stderr)


def check_follow():
    bench.broker.replies = {"ReadAudit": Stream([{"records": [RECORD]}] * 3)}
    result = bench.run("audit", "--follow", "--json")
    call = bench.calls()[-1]
    lines = result.stdout.decode().split("\n")[:-1]
    bench.expect("audit --follow asks for more", call.more and call.parameters.get("follow") is True, call)
    bench.expect("audit --follow --json: an object a line", [json.loads(line) for line in lines] == [RECORD] * 3, result.stdout)


def check_completion():
    bench.broker.replies = {"List": Stream([{"secrets": [SECRET]}, {"secrets": [{**SECRET, "name": "dev/b"}]}]), "ListSets": SETS,
                            "ListLeases": {"leases": [LEASE, LEASE]}, "ShowPolicy": {"grants": [GRANT]}}
    for words, expected in ((["show", ""], ["prod/a", "dev/b"]), (["show", "pr"], ["prod/a"]), (["diff", ""], ["prod", "common"]),
                            (["explain", ""], ["shop-web-1"]), (["forbid", "sh"], ["shop-web"]), (["key", "r"], ["remove", "rotate"]),
                            (["put", "--from-file", ""], [])):
        result = bench.run("completion", "words", str(len(words) - 1), *words)
        bench.expect(f"completion of {words}", result.stdout.decode().split("\n")[:-1] == expected, result)
    script = f'PATH={pathlib.Path(bench.mayfly).parent}:$PATH; eval "$(mayfly completion bash)"; COMP_WORDS=(mayfly show pr); COMP_CWORD=2; _mayfly; '
    result = subprocess.run(["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, timeout=60, check=False,
                            env={**os.environ, "MAYFLY_ROOT": str(bench.root)})
    bench.expect("completion in a shell", result.stdout == b"prod/a\n", result)
    bench.broker.replies["List"] = {"secrets": [{**SECRET, "name": f"prod/{i}"} for i in range(900)]}
    result = bench.run("completion", "words", "1", "show", "")
    bench.expect("completion of more than anybody reads", len(result.stdout.split()) == 500, len(result.stdout.split()))
    result = bench.run("--root", "/nonexistent", "completion", "words", "1", "show", "", root=False)
    bench.expect("completion without a broker", result.returncode == 0 and not result.stdout and not result.stderr, result)
    bench.calls()


def check_output_that_fails():
    bench.broker.replies = {"Status": STATUS}
    with open("/dev/full", "wb") as full:
        result = subprocess.run([bench.mayfly, "--root", str(bench.root), "status"], stdout=full, stderr=subprocess.PIPE,
                                env={**os.environ, "NO_COLOR": "1"}, timeout=60, check=False)
    bench.expect("an answer that cannot be written", result.returncode == 1 and b"write the answer" in result.stderr, result)


for check in [value for name, value in list(globals().items()) if name.startswith("check_") and name != "check_row"]:
    check()
bench.finish()
