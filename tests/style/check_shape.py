"""Checks the shape of the C code: length of files and functions, files in a folder, names that say nothing.

A file or function over the limit needs "Long because" in a comment at its top, with the reason.
"""
import pathlib
import re
import sys

FILE_LIMIT, HEADER_LIMIT, FUNCTION_LIMIT, FOLDER_LIMIT = 600, 200, 60, 12
SAYS_NOTHING = re.compile(r"^(utils?|misc|common|helpers?|manager|core|base)\.[ch]$")


def long_functions(text):
    """Functions whose body, from the line of '{' to that of '}' in the first column, is too long."""
    start = None
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            before = "\n".join(lines[max(0, start - 14):start])
            if number - start - 1 > FUNCTION_LIMIT and "Long because" not in before:
                yield start, number - start - 1
            start = None


def main(root):
    wrong = []
    files = [f for top in ("include", "proto", "daemon", "client", "tests") for f in (root / top).rglob("*.[ch]")]
    folders = {}
    for file in files:
        name, text = file.relative_to(root), file.read_text()
        folders.setdefault(name.parent, []).append(file)
        count = text.count("\n")
        limit = HEADER_LIMIT if file.suffix == ".h" else FILE_LIMIT
        if count > limit and "Long because" not in text[:3000]:
            wrong.append(f"{name}: {count} lines, at most {limit}")
        if SAYS_NOTHING.match(file.name):
            wrong.append(f"{name}: the name says nothing")
        if file.suffix == ".h" and "#pragma once" not in text:
            wrong.append(f"{name}: no #pragma once")
        if re.search(r"\b(TODO|FIXME|XXX)\b(?!\(\d+\))", text):
            wrong.append(f"{name}: a TODO without an issue's number")
        for start, length in long_functions(text):
            wrong.append(f"{name}:{start}: a function of {length} lines, at most {FUNCTION_LIMIT}")
    for folder, members in folders.items():
        sources = [m for m in members if m.suffix == ".c"]
        if len(sources) > FOLDER_LIMIT and not str(folder).startswith("tests"):
            wrong.append(f"{folder}: {len(sources)} .c files, at most {FOLDER_LIMIT}")
    print(f"{len(files)} files checked")
    print("\n".join(wrong))
    return 1 if wrong or not files else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
