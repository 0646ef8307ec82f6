"""The naive controls stay where they are: each is built, none is installed, and nothing of ours knows of them.

Usage: controls_test.py SOURCE BUILD
"""
import json
import pathlib
import re
import sys


def main(source, build):
    here = source / "tests/attack"
    built = (here / "meson.build").read_text()
    wrong = [f"{v.name} is not built" for v in (here / "variants").glob("*.c") if f"'{v.name}'" not in built]
    installed = json.loads((build / "meson-info/intro-installed.json").read_text())
    wrong += [f"{file} would be installed" for file in installed if "/tests/attack/" in file]
    wrong += [f"{name}: install" for name in re.findall(r"install: *true", built)]
    for top in ("daemon", "client", "proto", "include", "packaging", "examples"):
        for file in (source / top).rglob("*"):
            if file.is_file() and re.search(rb"tests/attack|variants/", file.read_bytes()):
                wrong.append(f"{file.relative_to(source)} knows of the attack suite")
    print("\n".join(wrong) or "nothing of the controls is anywhere else")
    return 1 if wrong or not installed else 0


sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
