"""Checks the manual pages: one for each verb of the table, and each renders without a warning.

Rendering needs man and groff; without them only the list is checked.
"""
import pathlib
import shutil
import subprocess
import sys

NAMED_PARTS = (".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH EXAMPLE")


def complaints_of(page):
    """What groff says about PAGE; an empty text if it says nothing."""
    result = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", str(page)], capture_output=True, text=True, check=False)
    return result.stderr.strip()


def check_page(page, wrong):
    text = page.read_text()
    for part in NAMED_PARTS if page.name != "mayfly.1" else NAMED_PARTS[:3]:
        if part not in text:
            wrong.append(f"{page.name}: no {part}")
    if shutil.which("groff"):
        said = complaints_of(page)
        if said:
            wrong.append(f"{page.name}: {said}")
    if shutil.which("man"):
        result = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False)
        if result.returncode != 0 or result.stderr.strip():
            wrong.append(f"{page.name}: man says {result.stderr.strip()}")


def main(mayfly, directory, built):
    wrong = []
    table = subprocess.run([mayfly, "help", "--names"], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    for name in set(table) ^ set(built):
        wrong.append(f"'{name}' is in only one of the verb table and docs/meson.build")
    pages = [directory / "mayfly.1"] + [directory / f"mayfly-{name.replace(' ', '-')}.1" for name in table]
    for page in pages:
        check_page(page, wrong)
    print(f"{len(pages)} pages checked")
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]))
