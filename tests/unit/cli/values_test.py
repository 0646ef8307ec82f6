"""Values, passphrases and recovery keys: what arrives at the broker, what is said, and where nothing may be."""
import os
import pathlib
import stat
import subprocess
import sys

import stand_in
from stand_in import Error, Gone, RECOVERY_KEY

bench = stand_in.Bench(*sys.argv[1:3])
MEBIBYTE = 1 << 20
CREATED = {"outcome": "created", "version": 1}
SLOT = {"id": 3, "kind": "recovery", "created": "2025-01-02T03:04:05Z"}

# what it is, input, options, what arrives (None: refused), what is said about it
ROWS = [
    ("one line", b"canary-abc\n", [], b"canary-abc", b"left out"),
    ("one line without a newline", b"canary-abc", [], b"canary-abc", b""),
    ("one line, exactly", b"canary-abc\n", ["--exact"], b"canary-abc\n", b""),
    ("several lines", b"canary-a\nb\n", [], b"canary-a\nb\n", b"several lines"),
    ("binary", b"canary\0\xff\n", [], b"canary\0\xff\n", b"no plain text"),
    ("one byte", b"x", [], b"x", b""),
    ("a mebibyte", b"canary" + b"x" * (MEBIBYTE - 6), [], b"canary" + b"x" * (MEBIBYTE - 6), b""),
    ("a mebibyte and a newline", b"x" * MEBIBYTE + b"\n", [], b"x" * MEBIBYTE, b"left out"),
    ("a mebibyte and a newline of another system", b"x" * MEBIBYTE + b"\r\n", [], b"x" * MEBIBYTE, b"left out"),
    ("a mebibyte and a newline, exactly", b"x" * MEBIBYTE + b"\n", ["--exact"], None, b"1048576 bytes"),
    ("more than a mebibyte", b"x" * (MEBIBYTE + 1), [], None, b"1048576 bytes"),
    ("much more", b"x" * (3 * MEBIBYTE), [], None, b"1048576 bytes"),
    ("nothing", b"", [], None, b"empty"),
    ("nothing but a newline", b"\n", [], None, b"empty but for a newline"),
    ("nothing but a newline, exactly", b"\n", ["--exact"], b"\n", b""),
]


def check_row(what, content, options, arrives, says, way):
    bench.broker.secrets = [content.strip()] if len(content.strip()) > 5 else []
    bench.broker.replies = {"Put": CREATED, "Verify": {"same": True, "version": 1}}
    words = ["--from-file", "-"] if way == "-" else ["--from-file", str(file_with(content))] if way == "file" else []
    for verb, method in (("put", "Put"), ("verify", "Verify")):
        result = bench.run(verb, "prod/a", *words, *options, stdin=b"" if way == "file" else content)
        calls = bench.calls()
        name = f"{verb} {what} from {way}"
        if arrives is None:
            bench.expect(f"{name} is refused", result.returncode == 1 and not calls and says in result.stderr, result)
            continue
        bench.expect(f"{name}: exit status", result.returncode == 0, result)
        bench.expect(f"{name}: what arrives", calls and calls[0].method == method and calls[0].brought == {"value_fd": arrives}, calls)
        if verb == "put":
            bench.expect(f"{name}: what is said", says in result.stderr and bool(says) == bool(result.stderr), result.stderr)


def file_with(content):
    path = bench.root / "value"
    path.write_bytes(content)
    return path


def check_rows():
    for row in ROWS:
        for way in ("standard input", "-", "file"):
            check_row(*row, way)
    bench.broker.secrets = []


def check_files_that_are_none():
    for path, says in (("/nonexistent", b"open '/nonexistent'"), ("/", b"is a directory")):
        result = bench.run("put", "prod/a", "--from-file", path)
        bench.expect(f"put --from-file {path}", result.returncode == 1 and says in result.stderr and not bench.calls(), result)


def check_pipe():
    """A pipe of the shell: `--from-file <(command)`."""
    read, write = os.pipe()
    os.write(write, b"canary-pipe\n")
    os.close(write)
    bench.broker.replies = {"Put": CREATED}
    result = subprocess.run([bench.mayfly, "--root", str(bench.root), "put", "prod/a", "--from-file", f"/dev/fd/{read}"],
                            pass_fds=[read], capture_output=True, timeout=60, check=False)
    os.close(read)
    bench.expect("put from a pipe", result.returncode == 0 and bench.calls()[0].brought == {"value_fd": b"canary-pipe"}, result)


def check_command_line():
    """A value on the command line is refused before the broker is asked, and not repeated."""
    for words in (["put", "prod/a", "canary-argv"], ["put", "prod/a", "--value=canary-argv"], ["verify", "prod/a", "canary-argv"]):
        result = bench.run(*words, stdin=b"x")
        bench.expect(f"{words[:2]} with a value", result.returncode == 2 and b"canary-argv" not in result.stderr and not bench.calls(), result)


def check_closed_streams():
    """Without standard streams the broker's socket must not become one of them."""
    bench.broker.replies = {"Put": CREATED}
    result = subprocess.run(["/bin/sh", "-c", f"exec {bench.mayfly} --root {bench.root} put prod/a --from-file {file_with(b'canary')} <&- >&- 2>&-"],
                            timeout=60, check=False)
    calls = bench.calls()
    bench.expect("put with closed streams", result.returncode == 0 and calls[0].brought == {"value_fd": b"canary"}, (result, calls))


def check_lock_limit():
    """Memory that cannot be locked takes no value."""
    words = stand_in.ordinary_user()
    if words is None:
        return
    bench.root.chmod(0o755)
    bench.broker.path.chmod(0o666)
    result = subprocess.run(["/bin/sh", "-c", 'ulimit -l 64; exec "$@"', "sh", *words, bench.mayfly, "--root", str(bench.root), "put", "prod/a"],
                            input=b"canary", capture_output=True, timeout=60, check=False)
    bench.expect("put without lockable memory", result.returncode == 1 and b"RLIMIT_MEMLOCK" in result.stderr and not bench.calls(), result)


def check_reveal():
    bench.broker.replies = {"Reveal": {"version": 3}}
    for value in (b"canary", b"canary\n", b"a\0\xff\n", b"x" * MEBIBYTE):
        bench.broker.revealed = value
        result = bench.run("reveal", "prod/a")
        bench.expect(f"reveal {value[:8]}", result.returncode == 0 and result.stdout == value and not result.stderr, result.returncode)
    result = bench.run("reveal", "prod/a", "--version", "2")
    bench.expect("reveal --version", bench.calls()[-1].parameters == {"name": "prod/a", "version": 2, "into_fd": 0})
    bench.broker.replies = {"Reveal": Error("Forbidden", {"text": "allow_reveal is not set"})}
    result = bench.run("reveal", "prod/a")
    bench.expect("reveal that is forbidden", result.returncode == 1 and not result.stdout and b"allow_reveal" in result.stderr, result)
    bench.broker.replies, bench.broker.revealed = {"Reveal": {"version": 3}}, b""
    result = bench.run("reveal", "prod/a")
    bench.expect("reveal of nothing", result.returncode == 1 and not result.stdout, result)
    bench.calls()


def check_passphrases():
    bench.broker.secrets = [b"canary-pass", RECOVERY_KEY]
    bench.broker.replies = {"Unlock": {"waiting": []}, "AddSlot": {"slot": SLOT}, "ListSlots": {"slots": [{**SLOT, "kind": "passphrase"}]}}
    for words, parameter in ((["unlock"], "passphrase_fd"), (["unlock", "--recovery"], "recovery_fd"), (["key", "add", "passphrase"], "passphrase_fd")):
        result = bench.run(*words, stdin=b"canary-pass\n")
        bench.expect(f"{words}", bench.calls()[-1].brought == {parameter: b"canary-pass"} and b"canary" not in result.stdout + result.stderr, result)
    result = bench.run("unlock", stdin=b"x" * 1025)
    bench.expect("a passphrase that is too long", result.returncode == 1 and b"1024 bytes" in result.stderr and bench.methods() == ["ListSlots"], result)
    result = bench.run("unlock", stdin=b"")
    bench.expect("an empty passphrase", result.returncode == 1 and b"passphrase is empty" in result.stderr and bench.methods() == ["ListSlots"], result)


def check_recovery_key():
    bench.broker.replies = {"AddSlot": {"slot": SLOT}, "RotateKey": {"rewrapped": 7}, "ListSlots": {"slots": [SLOT]}}
    for words in (["key", "add", "recovery"], ["key", "rotate"]):
        result = bench.run(*words)
        bench.expect(f"{words} prints the key once", result.stdout.count(RECOVERY_KEY) == 1 and RECOVERY_KEY not in result.stderr, result)
        path = bench.root / f"key-{words[1]}"
        result = bench.run(*words, "--recovery-key-to", str(path), "--json")
        bench.expect(f"{words} to a file", path.read_bytes() == RECOVERY_KEY + b"\n" and RECOVERY_KEY not in result.stdout + result.stderr, result)
        bench.expect(f"{words}: the file's mode", stat.S_IMODE(path.stat().st_mode) == 0o600)
        result = bench.run(*words, "--recovery-key-to", str(path))
        bench.expect(f"{words} does not write over a file", result.returncode == 1 and b"exists" in result.stderr, result)
        result = bench.run(*words, "--json")
        bench.expect(f"{words}: no key in JSON", result.returncode == 2 and not result.stdout, result)
    bench.calls()
    result = bench.run("key", "rotate", "--recovery-key-to", "/dev/full/x")
    bench.expect("a file that cannot be made stops it before", result.returncode == 1 and [c.method for c in bench.calls()] == ["ListSlots"], result)


def check_recovery_key_after_failure():
    path = bench.root / "failed"
    bench.broker.replies = {"ListSlots": {"slots": []}, "RotateKey": Error("Failed", {"text": "the disk is full"})}
    result = bench.run("key", "rotate", "--recovery-key-to", str(path))
    bench.expect("a refusal leaves no file", result.returncode == 1 and not path.exists(), result)
    bench.broker.replies["RotateKey"] = Gone
    result = bench.run("key", "rotate", "--recovery-key-to", str(path))
    bench.expect("a key that was made is kept even so", result.returncode == 3 and path.read_bytes() == RECOVERY_KEY + b"\n", result)
    bench.calls()


def check_rotation_with_passphrase():
    bench.broker.replies = {"ListSlots": {"slots": [SLOT, {**SLOT, "kind": "passphrase"}]}, "RotateKey": {"rewrapped": 7}}
    result = bench.run("key", "rotate", stdin=b"canary-pass\n")
    bench.expect("key rotate brings the passphrase", bench.calls()[-1].brought == {"passphrase_fd": b"canary-pass"}, result)


def check_dumpable():
    """While a value is on its way nobody of the same user may look into the process, and it leaves no core."""
    words = stand_in.ordinary_user()
    sanitized = b"__asan_init" in pathlib.Path(bench.mayfly).read_bytes()
    if words is None or os.geteuid() != 0 or sanitized:
        return
    seen = {}

    def look(call):
        process = pathlib.Path(f"/proc/{call.pid}")
        seen["core"] = [line.split()[4] for line in (process / "limits").read_text().split("\n") if "core file" in line]
        seen["owner"] = (process / "mem").stat().st_uid
        return CREATED

    bench.root.chmod(0o755)
    bench.broker.path.chmod(0o666)
    bench.broker.replies = {"Put": look}
    # Where the limit may be raised, only the command itself can have lowered it.
    before = ["/bin/sh", "-c", 'ulimit -c unlimited 2>/dev/null; exec "$@"', "sh", *words]
    result = bench.run("put", "prod/a", stdin=b"canary", before=before)
    bench.expect("no core dumps", result.returncode == 0 and seen.get("core") == ["0"], (result, seen))
    bench.expect("an undumpable process is root's to the kernel", seen.get("owner") == 0, seen)
    bench.calls()


for check in [value for name, value in list(globals().items()) if name.startswith("check_") and name != "check_row"]:
    check()
bench.finish()
