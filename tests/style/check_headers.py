"""Checks that the public headers, what libmayfly exports, its version script and docs/libmayfly.md agree.

Usage: check_headers.py ROOT LIBRARY CC...     checks; CC compiles each header alone, as C and as C++
       check_headers.py --write ROOT           writes the reference of docs/libmayfly.md from the headers

Each function's comment says: every parameter in capitals, whether it blocks, its errors by name, its source.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

HEADERS = ("mayfly.h", "value.h", "delivery.h", "watch.h", "identity.h", "status.h")
FUNCTION = re.compile(r"/\*((?:(?!\*/).)*)\*/\nMAYFLY_API\s+([^;]*?)\b(mayfly_\w+)\(([^;]*)\);", re.S)
BEGIN, END = "<!-- from here: check_headers.py --write -->\n", "<!-- to here -->\n"
LANGUAGES = (("c", "c99"), ("c", "c17"), ("c++", "c++11"), ("c++", "c++17"))


class Function:
    def __init__(self, comment, result, name, parameters):
        self.name, self.result = name, " ".join(result.split())
        self.lines = [re.sub(r"^ ?\* ?", "", line.strip()) for line in comment.strip().split("\n")]
        self.text = " ".join(self.lines)
        self.parameters = [] if parameters.strip() == "void" else [" ".join(p.split()) for p in parameters.split(",")]

    def prototype(self):
        start = self.result + ("" if self.result.endswith("*") else " ") + self.name
        whole = f"{start}({', '.join(self.parameters) or 'void'});"
        return whole if len(whole) <= 100 else f"{start}(\n\t" + ",\n\t".join(self.parameters) + ");"

    def parameter_names(self):
        return [re.search(r"(\w+)$", p).group(1).upper() for p in self.parameters]

    def complaints(self, statuses):
        for name in self.parameter_names():
            if not re.search(rf"\b{name}\b", self.text):
                yield f"{self.name}: its comment does not say what {name} is"
        if not re.search(r"\bDoes not block\b|\bBlocks (for|while)\b|\bblocking as for\b", self.text):
            yield f"{self.name}: its comment does not say whether it blocks"
        errors = re.search(r"Errors(, in \*FAILURE too)?: (.*?) Source: ", self.text)
        if not errors:
            yield f"{self.name}: its comment has no \"Errors:\" and \"Source:\" at its end"
        elif (errors.group(2) == "none.") == self.result.startswith("enum mayfly_status"):
            yield f"{self.name}: what it returns and its \"Errors:\" do not agree"
        for status in re.findall(r"\bMAYFLY_[A-Z_]+\b", errors.group(2) if errors else ""):
            if status not in statuses and not status.startswith(("MAYFLY_WAIT_", "MAYFLY_ALLOW_", "MAYFLY_SOCKET")):
                yield f"{self.name}: {status} is no status"


def read_headers(root):
    texts = {name: (root / "include/mayfly" / name).read_text() for name in HEADERS}
    functions = {name: [Function(*match) for match in FUNCTION.findall(text)] for name, text in texts.items()}
    enum = re.search(r"enum mayfly_status \{(.*?)\n\}", texts["status.h"], re.S).group(1)
    statuses = re.findall(r"(MAYFLY_\w+)(?: = 0)?,\s*(?:/\*(.*?)\*/)?", enum)
    return texts, functions, [(name, " ".join(text.split())) for name, text in statuses]


def marked(text, parameters=()):
    """TEXT with names as code; PARAMETERS, which a comment has in capitals, as they are written."""
    text = re.sub(r"\b(MAYFLY_[A-Z_]+|mayfly_\w+\(\))", r"`\1`", text)
    for name in parameters:
        text = re.sub(rf"(?<![\w`])(\*?){name}\b", rf"`\1{name.lower()}`", text)
    return text


def wrapped(text):
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def paragraphs(function):
    """A comment as paragraphs. What every accessor has is said once, at the top of the reference."""
    text = function.text.replace(" Does not block. Errors: none.", "")
    parts = re.split(r" (?=Does not block|Blocks (?:for|while)|Errors, in|Source:)", text)
    return "\n\n".join(wrapped(marked(part, function.parameter_names())) for part in parts)


def reference(texts, functions, statuses):
    out = ["## What a call comes to\n\n| status | meaning |\n|---|---|\n"]
    out += [f"| `{name}` | {marked(text) or 'as it says'} |\n" for name, text in statuses]
    out.append("\nIn the reference below, a function of which nothing else is said does not block and has no errors.\n")
    for header in HEADERS:
        purpose = re.match(r"/\*(.*?)(?:\n \*\n|\*/)", texts[header], re.S).group(1)
        purpose = " ".join(re.sub(r"^ [*] ?", "", line) for line in purpose.strip().splitlines()).strip()
        out.append(f"\n## `<mayfly/{header}>`\n{wrapped(marked(purpose))}\n")
        for function in functions[header]:
            out.append(f"\n### `{function.name}`\n```c\n{function.prototype()}\n```\n{paragraphs(function)}\n")
    return "".join(out)


def document(root, texts, functions, statuses):
    """docs/libmayfly.md as it is, and as it should be."""
    path = root / "docs/libmayfly.md"
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return path, text, before + BEGIN + reference(texts, functions, statuses) + END + after


def exported(library):
    words = ["nm", "-D", "--defined-only", library]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[2] for line in lines if line.split()[1] != "A"]


def check_symbols(root, names, library):
    script = (root / "client/lib/libmayfly.map").read_text()
    versions = {}
    for version, symbols in re.findall(r"(MAYFLY_[\d.]+) \{\s*global:(.*?)(?:local:.*?)?\}", script, re.S):
        versions.update({symbol: version for symbol in re.findall(r"(\w+);", symbols)})
    for name in names ^ set(versions):
        yield f"{name} is in only one of the headers and libmayfly.map"
    symbols = exported(library)
    for name in names ^ {symbol.split("@")[0] for symbol in symbols}:
        yield f"{name} is in only one of the headers and {library}"
    for symbol in symbols:
        name, _, version = symbol.partition("@@")
        if version != versions.get(name):
            yield f"{symbol}: its version is not that of libmayfly.map"


def compile_text(cc, language, standard, text, root):
    words = [*cc, "-x", language, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    return subprocess.run([*words, f"-I{root}/include", "-"], input=text, capture_output=True, text=True, check=False)


def compiler_for(cc, language, standard):
    """CC, or for C++ clang, where it knows the language; else None."""
    for candidate in [cc, ["clang"]] if language == "c++" else [cc]:
        found = shutil.which(candidate[0])
        if found and compile_text(candidate, language, standard, "int used;\n", ".").returncode == 0:
            return candidate
    return None


def check_alone(root, cc):
    for language, standard in LANGUAGES:
        compiler = compiler_for(cc, language, standard)
        if not compiler:
            yield f"no compiler for {standard}"
            continue
        for header in (*HEADERS, "limits.h"):
            result = compile_text(compiler, language, standard, f"#include <mayfly/{header}>\nint used;\n", root)
            if result.returncode != 0:
                yield f"{header} alone as {standard}: {result.stderr}"


def main(root, library, cc):
    texts, functions, statuses = read_headers(root)
    every = [f for header in HEADERS for f in functions[header]]
    names = {f.name for f in every}
    code = re.sub(r"/\*.*?\*/", "", "".join(texts.values()), flags=re.S)
    declared = set(re.findall(r"\b(mayfly_\w+)\([^;{}]*\);", code))
    wrong = [f"{name}: a declaration without a comment before it" for name in declared - names]
    for function in every:
        wrong += function.complaints(dict(statuses))
    wrong += check_symbols(root, names, library)
    wrong += check_alone(root, cc)
    path, is_now, should_be = document(root, texts, functions, statuses)
    if is_now != should_be:
        wrong.append(f"{path.name} is not what the headers say: run tests/style/check_headers.py --write .")
    print(f"{len(every)} functions checked")
    print("\n".join(wrong))
    return 1 if wrong or not every else 0


def write(root):
    path, _, should_be = document(root, *read_headers(root))
    path.write_text(should_be)
    return 0


if sys.argv[1] == "--write":
    sys.exit(write(pathlib.Path(sys.argv[2])))
sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
