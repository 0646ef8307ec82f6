"""Checks that includes point down only (architecture: layers), from the #include lines.

A file may include its own folder, folders of a lower rank of its process, proto/ and include/.
No exceptions: what does not fit is moved.
"""
import pathlib
import re
import sys

# Broker folders by rank: a folder includes only lower ones.
BROKER_RANKS = {
    "daemon/broker": 12,
    "daemon/broker/listen": 11,
    "daemon/broker/listen/operator": 11,
    "daemon/broker/request": 10,
    "daemon/broker/rotation": 9.7,
    "daemon/broker/lease/adopt": 9.5,
    "daemon/broker/lease": 9,
    "daemon/broker/lease/term": 8.5,
    "daemon/broker/provider": 8,
    "daemon/broker/vault": 7,
    "daemon/broker/backup": 7,
    "daemon/broker/policy": 6,
    "daemon/broker/delivery": 6,
    "daemon/broker/store": 6,
    "daemon/broker/store/sqlite": 5,
    "daemon/broker/audit": 6,
    "daemon/broker/identity": 5,
    "daemon/broker/config": 4,
    "daemon/broker/https": 3,
    "daemon/broker/wire": 3,
    "daemon/broker/loop": 2,
}
# What each other folder may include beside itself and what it stands on.
OTHERS = {
    "include/mayfly": [],
    "proto": ["include/mayfly"],
    "proto/backup": ["proto", "include/mayfly"],
    "daemon/privilege": ["proto", "include/mayfly"],
    "daemon/http": [],
    "daemon/supervisor": ["daemon/privilege", "proto", "include/mayfly"],
    "daemon/mounter": ["daemon/mounter/kernel", "daemon/privilege", "proto", "include/mayfly"],
    "daemon/mounter/kernel": ["proto", "include/mayfly"],
    "daemon/engine": ["daemon/engine/api", "daemon/engine/facts", "daemon/privilege", "proto", "include/mayfly"],
    "daemon/engine/api": ["daemon/engine/facts", "daemon/http", "proto", "include/mayfly"],
    "daemon/engine/facts": ["proto", "include/mayfly"],
    # libmayfly lives in other people's programs: it stands on nothing of ours but its own headers.
    "client/lib": ["client/lib/wire", "include/mayfly"],
    "client/lib/wire": ["include/mayfly"],
    "client/exec": ["client/lib", "client/lib/wire", "include/mayfly"],
    "client/cli": ["client/cli", "proto", "proto/backup", "include/mayfly"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def allowed(folder, target):
    if folder == target:
        return True
    if folder in BROKER_RANKS:
        if target in BROKER_RANKS:
            return BROKER_RANKS[target] < BROKER_RANKS[folder]
        return target in ("daemon/http", "daemon/privilege", "proto", "proto/backup", "include/mayfly")
    if folder.startswith("client/cli"):
        return target.startswith("client/cli") or target in OTHERS["client/cli"]
    return target in OTHERS.get(folder, [])


def main(root):
    wrong = []
    files = [f for top in ("include", "proto", "daemon", "client") for f in (root / top).rglob("*.[ch]")]
    for file in files:
        folder = str(file.parent.relative_to(root))
        for name in INCLUDE.findall(file.read_text()):
            target = str(pathlib.PurePosixPath(name).parent)
            if name.endswith("_generated.h") or name.endswith("_generated.inc"):
                continue
            if not (root / name).is_file():
                wrong.append(f"{file.relative_to(root)}: \"{name}\" is not given from the top of the tree")
            elif not allowed(folder, target):
                wrong.append(f"{file.relative_to(root)}: may not include {name}")
    print(f"{len(files)} files, {len(wrong)} includes that point up")
    print("\n".join(wrong))
    return 1 if wrong or not files else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
