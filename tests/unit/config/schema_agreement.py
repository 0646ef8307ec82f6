"""Checks that our interpreter of the published schemas and python3-jsonschema judge alike.

Both judge the corpus, the examples, and variants of them in which one value or key was changed; always the same
variants. A file that is no JSON, or has a key twice, is refused by both sides.
Usage: schema_agreement.py SCHEMA_VERDICT SOURCE_ROOT. Exits with 77 where python3-jsonschema is missing.
"""
import copy
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(1 if os.environ.get("MAYFLY_TESTS_MUST_RUN") == "1" else 77)

VARIANTS = 6000
REPLACEMENTS = [None, True, False, 0, -1, 1, 7, 4294967294, 4294967295, 0.5, "", "*", "a", "A", "a/b", "../a", "..", ".a", "a*",
                "a*b", "**", "0440", "440", "4755", "0489", "dev", "prod", "environment", "note", "True", "False", "true", "refuse",
                "allow", "current", "previous", "store", "docker", "guard", "/x", "x" * 63, "x" * 64, "x" * 108, "x" * 256,
                "sha256:" + "0" * 64, "sha256:" + "0" * 63, "sha256:" + "g" * 64, "\u00e4", "{{a}}", [], {}, ["a"], ["a", "a"], {"note": "x"}, {"a": 1}]
KEYS = ["note", "name", "template", "as", "uid", "gid", "mode", "versions", "match", "require", "secrets", "set", "guard", "lease", "ttl", "max_ttl",
        "unrenewed", "read",
        "compose.project", "compose.oneoff", "container.label.", "container.label.x", "image.digest", "privileged", "non_root", "sets",
        "engines", "inherits", "provider", "user", "a", "A", ""]


def without_twins(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key twice")
    return dict(pairs)


def no_constant(name):
    raise ValueError(name)


def judge(validator, path):
    try:
        document = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=without_twins, parse_constant=no_constant)
    except ValueError:
        return False
    return validator.is_valid(document)


def containers(value):
    """Every object and list in VALUE, itself included."""
    if isinstance(value, (dict, list)):
        yield value
        for member in value.values() if isinstance(value, dict) else value:
            yield from containers(member)


def change(rng, document):
    place = rng.choice(list(containers(document)))
    key = rng.choice(list(place)) if isinstance(place, dict) and place else None
    index = rng.randrange(len(place)) if isinstance(place, list) and place else None
    new = copy.deepcopy(rng.choice(REPLACEMENTS))
    action = rng.choice(["replace", "replace", "remove", "add", "rename"])
    if isinstance(place, dict):
        if action == "add" or key is None:
            place[rng.choice(KEYS)] = new
        elif action == "replace":
            place[key] = new
        elif action == "remove":
            del place[key]
        else:
            place[rng.choice(KEYS)] = place.pop(key)
    elif action == "add" or index is None:
        place.append(new)
    elif action == "remove":
        del place[index]
    else:
        place[index] = new


def write_variants(kind, sources, folder):
    rng = random.Random(20240229)
    goods = [json.loads(source.read_text()) for source in sources]
    for number in range(VARIANTS // 2):
        document = copy.deepcopy(rng.choice(goods))
        for _ in range(rng.choice([1, 1, 1, 2])):
            change(rng, document)
        (folder / f"{kind}-{number}.json").write_text(json.dumps(document, indent=1))


def verdicts(program, kind, paths):
    output = subprocess.run([program, kind, *map(str, paths)], check=True, capture_output=True, text=True).stdout
    lines = [line.split(" ", 1) for line in output.splitlines() if not line.startswith("\t")]
    return {pathlib.Path(path): word == "accepted" for word, path in lines}


def main(program, root):
    corpus = root / "tests" / "unit" / "policy" / "corpus"
    disagreements, accepted, refused = [], 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for kind, folder, more in (("policy", "policy", root / "examples" / "policy"), ("mayflyd", "config", None)):
            schema = json.loads((root / "docs" / "schema" / f"{kind}.schema.json").read_text())
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            goods = sorted((corpus / folder / "good").glob("*.json")) + (sorted(more.glob("*.json")) if more else [])
            write_variants(kind, goods, pathlib.Path(scratch))
            paths = goods + sorted((corpus / folder / "bad").glob("*.json")) + sorted(pathlib.Path(scratch).glob(f"{kind}-*.json"))
            ours = verdicts(program, kind, paths)
            assert set(ours) == set(paths), "not every file was judged"
            for path in paths:
                theirs = judge(validator, path)
                accepted, refused = accepted + theirs, refused + (not theirs)
                if ours[path] != theirs:
                    disagreements.append(f"{path.name}: we {'accept' if ours[path] else 'refuse'}, jsonschema does not\n{path.read_bytes()[:1500]!r}")
    print(f"{accepted + refused} files: both accept {accepted}, both refuse {refused}, {len(disagreements)} judged differently")
    print("\n".join(disagreements[:5]))
    return 1 if disagreements or not accepted or not refused else 0


sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2])))
