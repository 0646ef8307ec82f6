"""Checks that documents speak of what there is: links, paths in the READMEs, and every key of the published schemas.

Usage: check_documents.py ROOT
"""
import json
import pathlib
import re
import subprocess
import sys

# Documents that name files of the tree, and where their paths begin beside the top.
READMES = {"daemon/README.md": ["daemon", "daemon/broker", "daemon/broker/listen", "daemon/broker/listen/operator", "daemon/broker/policy", "daemon/broker/lease", "daemon/engine", "daemon/supervisor"],
           "tests/README.md": ["tests", "tests/privileged"], "README.md": [], "examples/compose/README.md": ["examples/compose"], "docs/configuration.md": ["docs"]}
PATH = re.compile(r"^(?:[A-Za-z0-9_.-]+/)*[A-Za-z0-9_.-]+\.(?:c|h|py|sh|md|json|yaml|varlink)$")


def documents(root):
    return [path for path in root.rglob("*.md") if not path.relative_to(root).parts[0].startswith(("build", "."))]


def broken_links(root):
    for document in documents(root):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                yield f"{document.relative_to(root)}: {target} is not there"


def broken_paths(root):
    for name, places in READMES.items():
        for word in re.findall(r"`([^`\s]+)`", (root / name).read_text(encoding="utf-8")):
            if PATH.match(word) and word not in ("compose.yaml", "mayflyd.json") and \
                    not any((root / place / word).exists() for place in ["", *places]):
                yield f"{name}: {word} is not there"


def keys_of(schema):
    """Every property's name in a schema, patterns as they are documented."""
    if isinstance(schema, list):
        return set().union(*map(keys_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    found = {key for key in schema.get("properties", {}) if not key.startswith("container.label.com.docker.")}
    if any(key.startswith("^container\\.label") for key in schema.get("patternProperties", {})):
        found.add("container.label.X")
    return found.union(*(keys_of(value) for value in schema.values()))


def choices_of(schema):
    if isinstance(schema, list):
        return set().union(*map(choices_of, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    return {str(choice) for choice in schema.get("enum", [])}.union(*(choices_of(value) for value in schema.values()))


def missing_keys(root):
    text = (root / "docs/configuration.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`\n]+)`", text))
    for file in sorted((root / "docs/schema").glob("*.json")):
        schema = json.loads(file.read_text())
        # Words that Compose writes into a label; `compose.oneoff` says them as true and false.
        for word in (keys_of(schema) | choices_of(schema)) - {"True", "False"}:
            if word not in named:
                yield f"docs/configuration.md: `{word}` of {file.name} is not explained"


def wrong_examples(root):
    """The JSON blocks of the document are what they are said to be."""
    try:
        import jsonschema
    except ImportError:
        return
    schemas = {name: json.loads((root / f"docs/schema/{name}.schema.json").read_text()) for name in ("mayflyd", "policy")}
    blocks = re.findall(r"^```json\n(.*?)^```", (root / "docs/configuration.md").read_text(encoding="utf-8"), re.M | re.S)
    if len(blocks) < 3:
        yield "docs/configuration.md: where are its examples?"
    for block in blocks:
        content = json.loads(block)
        try:
            jsonschema.validate(content, schemas["policy" if "grants" in content else "mayflyd"])
        except jsonschema.ValidationError as error:
            yield f"docs/configuration.md: {error.message}"


def foreign_names(root):
    """No document or script knows the machine or the people that made it."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    for name in listed.stdout.split("\n"):
        path = root / name
        if name.endswith((".md", ".json", ".in", ".socket", ".8", ".sh", ".yaml")) or name.startswith(("scripts/", "packaging/", "examples/")):
            if path.is_file() and re.search(r"/work/|/root/\.|localhost:[0-9]", path.read_text(encoding="utf-8", errors="replace")):
                yield f"{name}: knows the machine that it was written on"


def unknown_suites(root):
    """Whoever adds a suite says what it proves."""
    text = (root / "tests/README.md").read_text(encoding="utf-8")
    for file in sorted((root / "tests").rglob("meson.build")):
        for suite in sorted(set(re.findall(r"suite: '([a-z]+)'", file.read_text()))):
            if f"`{suite}`" not in text:
                yield f"tests/README.md: suite `{suite}` of {file.relative_to(root)} is not explained"


def main(root):
    checks = (broken_links, broken_paths, missing_keys, wrong_examples, unknown_suites, foreign_names)
    wrong = [complaint for check in checks for complaint in check(root)]
    print(f"{len(documents(root))} documents, {len(wrong)} complaints")
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
