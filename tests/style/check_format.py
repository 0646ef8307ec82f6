"""Checks every C file against .clang-format."""
import pathlib
import subprocess
import sys

root, clang_format = pathlib.Path(sys.argv[1]), sys.argv[2]
files = sorted(str(f) for top in ("include", "proto", "daemon", "client", "tests") for f in (root / top).rglob("*.[ch]"))
result = subprocess.run([clang_format, "--dry-run", "--Werror", *files], cwd=root, text=True, capture_output=True)
print(f"{len(files)} files checked")
print("\n".join(result.stderr.split("\n")[:60]))
sys.exit(result.returncode)
