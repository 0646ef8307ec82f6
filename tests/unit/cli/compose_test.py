"""Compose files: convert, compose and allow --compose, with a Compose of the tests' own, and with the installed one if it is new enough."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import stand_in

bench = stand_in.Bench(*sys.argv[1:3])
PROJECT = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-compose-"))
STUB = PROJECT / "stub"
CANARY = "canary-value-in-the-environment"
HELP = "--format --no-interpolate --no-env-resolution --no-path-resolution --no-normalize"
OUR_MOUNT = {"type": "volume", "source": "mayfly-web", "target": "/run/secrets", "read_only": True, "volume": {"nocopy": True}}
MODEL = {
    "name": "shop",
    "services": {"web": {"image": "x", "user": "1000", "secrets": [{"source": "db-password", "target": "/run/secrets/db-password"},
                                                                  {"source": "key", "target": "keys/k", "uid": "0", "mode": "0400"}]}},
    "secrets": {"db-password": {"file": "./db.txt"}, "key": {"environment": "KEY"}},
}
MERGED = {"services": {"web": {"image": "x", "volumes": [OUR_MOUNT]}}}
PLAIN = {"services": {"web": {"image": "x"}}}
POLICY_ANSWERS = {
    "ListSets": {"environment": "prod", "sets": []}, "CheckPolicy": {"grants": 1, "complaints": [], "notes": [], "changes": []},
    "Reload": {"grants": 1, "restart_needed": []},
    "Show": {"secret": {"name": "prod/a", "current": 1, "versions": 1, "changed": "t", "removed": None}, "found_in": "prod", "keep": 10, "bytes": 3,
             "lines": 1, "final_newline": False, "is_text": True},
}
DOCKER = f"""#!{sys.executable}
import json, os, pathlib, signal, sys
stub, words = pathlib.Path(os.environ["STUB"]), sys.argv[1:]
with open(stub / "log", "a") as log:
    log.write(json.dumps([os.path.basename(sys.argv[0])] + words) + "\\n")
if words[-2:] == ["version", "--short"]:
    print((stub / "version").read_text())
elif words[-2:] == ["config", "--help"]:
    print((stub / "help").read_text())
elif words[:2] == ["image", "inspect"]:
    if not (stub / "image").exists():
        sys.stderr.write("Error response from daemon: No such image: " + words[-1] + "\\nmore\\n")
        sys.exit(1)
    print((stub / "image").read_text())
elif "config" in words:
    override = [w for w in words if w.startswith("/proc/self/fd/")]
    if override:
        (stub / "override").write_text(open(override[0]).read())
    if (stub / "refuse").exists():
        sys.stderr.write("no such file\\n")
        sys.exit(14)
    print((stub / ("merged" if override else "model")).read_text())
else:
    if "kill" in words:
        os.kill(os.getpid(), signal.SIGTERM)
    print(json.dumps(words))
    print("".join(open(w).read() for w in words if w.startswith("/proc/self/fd/")))
    sys.exit(7)
"""


def stub(model=MODEL, merged=MERGED, version="2.30.0", offers=HELP, name="docker"):
    shutil.rmtree(STUB, ignore_errors=True)
    (STUB / "bin").mkdir(parents=True)
    (STUB / "bin" / name).write_text(DOCKER)
    (STUB / "bin" / name).chmod(0o755)
    for part, content in (("model", model), ("merged", merged)):
        (STUB / part).write_text(content if isinstance(content, str) else json.dumps(content))
    (STUB / "version").write_text(version)
    (STUB / "help").write_text(offers)
    for path in PROJECT.glob("*.yaml"):
        path.unlink()
    (PROJECT / "compose.yaml").write_text("services: {}\n")


def run(*words, env=None):
    return bench.run(*words, cwd=PROJECT, env={"PATH": str(STUB / "bin"), "STUB": str(STUB), "KEY": CANARY, **(env or {})})


def log():
    path = STUB / "log"
    lines = [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def check_convert():
    stub()
    result = run("compose", "convert")
    text = (PROJECT / "compose.mayfly.yaml").read_text()
    said = result.stdout.decode()
    bench.expect("convert: exit status", result.returncode == 0, result)
    bench.expect("convert: the volume", 'files: "db-password,key=keys/k:uid=0:mode=0400"' in text and "secrets:\n" not in text, text)
    bench.expect("convert: no value", CANARY not in text + said, text)
    bench.expect("convert: the original stays", (PROJECT / "compose.yaml").read_text() == "services: {}\n")
    bench.expect("convert: what is left to do", "mayfly put SET/db-password --from-file ./db.txt" in said and "printenv KEY | mayfly put SET/key" in said
                 and "mayfly allow --compose compose.mayfly.yaml web" in said, said)
    words = log()[-1]
    bench.expect("convert: what Compose is asked", words[:4] == ["docker", "compose", "--profile", "*"] and words[4:7] == ["-f", "compose.yaml", "config"]
                 and {"--no-interpolate", "--no-env-resolution", "--no-path-resolution"} <= set(words), words)
    result = run("compose", "convert", "compose.yaml", "--json")
    bench.expect("convert --json", json.loads(result.stdout)["volumes"][0]["directory"] == "/run/secrets", result)
    result = run("compose", "convert", "-o", "-")
    bench.expect("convert to standard output", result.stdout.decode() == text, result.stdout)
    result = run("compose", "convert", "-o", "-", "--driver", "other")
    bench.expect("convert for another driver", b"driver: other" in result.stdout, result.stdout)


def check_convert_refuses():
    stub()
    (PROJECT / "mine.yaml").write_text("mine")
    result = run("compose", "convert", "-o", "mine.yaml")
    bench.expect("convert over somebody's file", result.returncode == 1 and (PROJECT / "mine.yaml").read_text() == "mine", result)
    result = run("compose", "convert", "-o", "mine.yaml", "--force")
    bench.expect("convert over it by force", result.returncode == 0 and "mayfly" in (PROJECT / "mine.yaml").read_text(), result)
    result = run("compose", "convert", "compose.yaml", "-o", "./compose.yaml", "--force")
    bench.expect("convert over the original", result.returncode == 1 and b"never changed" in result.stderr, result)
    stub(model={**MODEL, "services": {"web": {**MODEL["services"]["web"], "volumes": ["x:/run/secrets"]}, "job": {"secrets": ["nothing"]}}})
    result = run("compose", "convert")
    bench.expect("what cannot be converted is said at once", result.returncode == 1 and b"service web: it mounts /run/secrets" in result.stderr
                 and b"service job: secret nothing" in result.stderr and not (PROJECT / "compose.mayfly.yaml").exists(), result)
    stub(model=PLAIN)
    result = run("compose", "convert")
    bench.expect("nothing to convert", result.returncode == 1 and b"nothing to convert" in result.stderr, result)
    stub(version="1.29.2", offers="--no-interpolate")
    result = run("compose", "convert")
    bench.expect("a Compose that is too old", result.returncode == 1 and b"1.29.2 is too old" in result.stderr and b"2.24.4" in result.stderr, result)
    for version, too_old in (("2.24.3", True), ("v2.24.3", True), ("2.24.4", False), ("2.24.10", False), ("v5.0.2", False), ("2.9.9-rc1", True), ("dev", False)):
        stub(version=version)
        result = run("compose", "convert")
        bench.expect(f"Compose {version}", (result.returncode == 1 and b"too old" in result.stderr) == too_old, result)
    stub()
    result = run("compose", "convert", "--json", "-o", "-")
    bench.expect("two answers for one stream", result.returncode == 2 and not result.stdout, result)
    (PROJECT / "compose.yaml").unlink()
    result = run("compose", "convert")
    bench.expect("no file", result.returncode == 1 and b"no compose file here" in result.stderr, result)
    stub(name="nothing")
    result = run("compose", "convert")
    bench.expect("no Compose", result.returncode == 1 and b"docker-compose-plugin" in result.stderr, result)
    stub()
    (STUB / "refuse").touch()
    result = run("compose", "convert")
    bench.expect("a file that Compose refuses", result.returncode == 1 and b"no such file" in result.stderr, result)


def check_convert_elsewhere():
    stub()
    (PROJECT / "out").mkdir(exist_ok=True)
    result = run("compose", "convert", "-o", "out/c.yaml")
    bench.expect("a copy in another directory has absolute paths", "--no-path-resolution" not in log()[-1] and b"absolute" in result.stderr, result)
    stub(offers=HELP.replace("--no-env-resolution", ""))
    result = run("compose", "convert")
    bench.expect("env files that cannot be left out are told", result.returncode == 0 and b"env_file" in result.stderr, result)
    (bench.root / "etc/mayfly").mkdir(parents=True, exist_ok=True)
    (bench.root / "etc/mayfly/mayflyd.json").write_text('{"environment": "prod", "engines": [{"plugin_name": "mayfly-test"}]}')
    stub()
    result = run("compose", "convert")
    text = (PROJECT / "compose.mayfly.yaml").read_text()
    bench.expect("the host's names are used", "driver: mayfly-test" in text and b"mayfly put prod/key" in result.stdout, (text, result))
    shutil.rmtree(bench.root / "etc")


def convert_env(*wishes, service=None, image=None, stub_image=True):
    """Runs convert with --env WISHES. The result, and the copy's text without its quotes (None without one)."""
    web = {**MODEL["services"]["web"], **(service or {})}
    stub(model={**MODEL, "services": {"web": web}})
    if stub_image:
        (STUB / "image").write_text(image if isinstance(image, str) else json.dumps(image or {}))
    result = run("compose", "convert", "--json", *[word for wish in wishes for word in ("--env", wish)])
    written = PROJECT / "compose.mayfly.yaml"
    return result, written.read_text().replace('"', "") if written.exists() else None


def check_convert_env():
    image = {"Entrypoint": ["/entry", "$HOME"], "Cmd": ["serve", "-p", "80"], "Env": [f"A={CANARY}"]}
    result, text = convert_env("web:DB_PASSWORD=db-password", "web:KEY=key", image=image)
    bench.expect("convert --env", result.returncode == 0 and text, result)
    bench.expect(
        "convert --env: the entry point",
        """    entrypoint:
    - /mayfly
    - exec
    - --env
    - DB_PASSWORD=db-password
    - --env
    - KEY=keys/k
    - --
    - /entry
    - $$HOME
""" in text,
        text,
    )
    bench.expect(
        "convert --env: the image's command would be forgotten",
        "    command:\n    - serve\n    - -p\n    - 80\n" in text,
        text,
    )
    bench.expect(
        "convert --env: the program is bound",
        "/lib/mayfly/exec\n      target: /mayfly\n      read_only: true\n" in text
        and "create_host_path: false" in text,
        text,
    )
    bench.expect(
        "convert --env: the restart is told",
        b"note: service web: its environment is made when it starts" in result.stderr
        and b'"on_rotate": "restart"' in result.stderr,
        result,
    )
    bench.expect("convert --env: no value", CANARY not in text)
    bench.expect(
        "convert --env --json",
        json.loads(result.stdout)["environments"]
        == [{"service": "web", "directory": "/run/secrets", "variables": ["DB_PASSWORD=db-password", "KEY=keys/k"]}],
        result,
    )
    asked = [words for words in log() if "inspect" in words]
    bench.expect(
        "convert --env: what docker is asked",
        asked == [["docker", "image", "inspect", "--format", "{{json .Config}}", "--", "x"]],
        asked,
    )
    result, text = convert_env("web:A=key", service={"command": ["mine"]}, image=image)
    bench.expect(
        "convert --env: the file's command stays",
        "    command:\n    - mine\n" in text and "serve" not in text and "- /entry\n" in text,
        text,
    )
    result, text = convert_env("web:A=key", service={"entrypoint": ["/mine"]}, stub_image=False)
    bench.expect(
        "convert --env: the file's entry point needs no image",
        result.returncode == 0
        and "    - --\n    - /mine\n" in text
        and "command:" not in text
        and not any("inspect" in words for words in log()),
        text,
    )
    result, text = convert_env("web:A=key", service={"entrypoint": None}, image=image)
    bench.expect(
        "convert --env: an entry point that is taken away",
        "    - --\n" in text and "/entry" not in text and "    - serve\n" in text,
        text,
    )
    result, text = convert_env("web:A=key", image={"Entrypoint": None, "Cmd": ["sh"]})
    bench.expect(
        "convert --env: an image with a command only", "    - --\n" in text and "    command:\n    - sh\n" in text, text
    )


def check_convert_env_refuses():
    by_hand = b"give the service `entrypoint:` and `command:`, as lists, in the compose file"
    rows = [
        (
            "an image that is not here",
            {"stub_image": False},
            b"docker image inspect: Error response from daemon: No such image: x\n",
        ),
        ("an image that runs nothing", {"image": {"Entrypoint": [], "Cmd": None}}, b"neither entry point nor command"),
        ("a docker that prints something else", {"image": "[]"}, b"prints no configuration"),
        ("a docker that prints nothing", {"image": ""}, b"prints no configuration"),
        ("words that are none", {"image": {"Cmd": [1]}}, b"prints no configuration"),
        ("an image with a variable", {"service": {"image": "x:${TAG}"}}, b"its name has a variable"),
    ]
    for name, arguments, says in rows:
        result, text = convert_env("web:A=key", **arguments)
        bench.expect(
            f"convert --env: {name}",
            result.returncode == 1 and says in result.stderr and by_hand in result.stderr and text is None,
            result,
        )
    for wish, says, status in (
        ("web:A", b"is no SERVICE:NAME=SECRET", 2),
        ("web:1=key", b"letters, digits", 2),
        ("wbe:A=key", b"no service wbe", 1),
        ("web:A=x", b"it has no secret x; it has db-password, keys/k", 1),
    ):
        result, text = convert_env(wish, image={"Cmd": ["x"]})
        bench.expect(
            f"convert --env {wish}", result.returncode == status and says in result.stderr and text is None, result
        )


def check_convert_env_of_a_volume_that_is_there():
    volumes = {"secrets": {"driver": "mayfly"}}
    stub(
        model={
            "services": {"web": {"image": "x", "entrypoint": ["/e"], "volumes": ["secrets:/run/secrets:ro"]}},
            "volumes": volumes,
        }
    )
    result = run("compose", "convert", "--env", "web:A=any/thing", "-o", "-")
    bench.expect(
        "convert --env without secrets in the file",
        result.returncode == 0 and b"    - A=any/thing\n    - --\n    - /e\n" in result.stdout.replace(b'"', b""),
        result,
    )


def check_compose():
    stub()
    result = run("compose", "-p", "shop", "--progress", "plain", "up", "-d", "--json")
    words, _, override = result.stdout.decode().partition("\n")
    words = json.loads(words)
    bench.expect("compose: the exit status is Compose's", result.returncode == 7, result)
    bench.expect("compose: the real call", words[:6] == ["compose", "--project-name", "shop", "-f", "compose.yaml", "-f"]
                 and words[7:] == ["--progress", "plain", "up", "-d", "--json"], words)
    bench.expect("compose: the override", "secrets: !reset []" in override and "db-password: !reset null" in override
                 and 'files: "db-password,key=keys/k:uid=0:mode=0400"' in override and CANARY not in override, override)
    calls = log()
    bench.expect("compose: the model is asked for with the project's options", calls[2][4:8] == ["--project-name", "shop", "-f", "compose.yaml"], calls)
    bench.expect("compose: the override was tried before", (STUB / "override").read_text() == override.rstrip("\n") + "\n", override)
    result = run("compose", "kill")
    bench.expect("compose: signals are Compose's", result.returncode == -signal.SIGTERM, result)


def check_compose_refuses():
    stub(merged=MODEL)
    result = run("compose", "up")
    bench.expect("a Compose that does not know !reset", result.returncode == 1 and b"!reset" in result.stderr and ["docker", "compose", "up"] not in log(), result)
    stub(version="1.29.2", offers="")
    result = run("compose", "up")
    bench.expect("compose with a Compose that is too old", result.returncode == 1 and b"2.24.4" in result.stderr, result)
    stub(model={**MODEL, "services": {"web": {"secrets": [{"source": "key", "target": "/key"}]}}})
    result = run("compose", "up")
    bench.expect("compose with what cannot be served", result.returncode == 1 and b"root directory" in result.stderr and log()[-1][-1] != "up", result)
    stub()
    (STUB / "refuse").touch()
    result = run("compose", "up")
    bench.expect("compose with a file that Compose refuses", result.returncode == 1 and b"no such file" in result.stderr and log()[-1][-1] != "up", result)
    result = run("compose", "-f", "-", "up")
    bench.expect("compose with a file from standard input", result.returncode == 1 and b"twice" in result.stderr, result)


def check_compose_passes_through():
    stub(model=PLAIN)
    for words in (["up", "-d"], ["version"], ["ls", "--json"], ["-f", "compose.yaml", "ps"], ["help"]):
        result = run("compose", *words)
        bench.expect(f"compose {words} without secrets", result.returncode == 7 and json.loads(result.stdout) == ["compose", *words], result)
    (PROJECT / "compose.yaml").unlink()
    result = run("compose", "up")
    bench.expect("compose without a file", result.returncode == 7 and json.loads(result.stdout) == ["compose", "up"], result)
    stub(model=PLAIN, name="docker-compose")
    result = run("compose", "up")
    bench.expect("docker-compose by itself", result.returncode == 7 and json.loads(result.stdout) == ["up"], result)
    result = bench.run("compose", "--help")
    bench.expect("compose --help is ours", result.returncode == 0 and b"mayfly compose up -d" in result.stdout, result)


def grant_of(name):
    return json.loads((bench.root / f"etc/mayfly/policy.d/{name}.json").read_text())["grants"][0]


def check_allow():
    stub()
    bench.broker.replies = POLICY_ANSWERS
    result = run("allow", "--compose", "compose.yaml", "web", "--yes")
    bench.expect("allow --compose: the grant", result.returncode == 0 and grant_of("shop-web") == {
        "name": "shop-web", "match": {"compose.project": "shop", "compose.service": "web"},
        "secrets": [{"name": "db-password"}, {"name": "key", "uid": 0, "mode": "0400"}]}, result)
    bench.expect("allow --compose: an unreadable file", b"user 1000 cannot read key" in result.stderr, result.stderr)
    bench.expect("allow --compose: the next step", b"mayfly compose -f compose.yaml up -d" in result.stdout, result.stdout)
    result = run("allow", "--compose", "compose.yaml", "web", "--secret", "key", "--grant", "one", "--yes")
    bench.expect("allow --compose --secret takes the file's owner", grant_of("one")["secrets"] == [{"name": "key", "uid": 0, "mode": "0400"}], result)
    result = run("allow", "--compose", "compose.yaml", "wbe", "--yes")
    bench.expect("allow for a service that is not there", result.returncode == 1 and b"did you mean 'web'" in result.stderr, result)
    result = run("allow", "--compose", "compose.yaml", "--secret", "a", "--yes")
    bench.expect("allow --compose without a service", result.returncode == 2, result)
    stub(model={"name": "shop", "services": {"web": {}}})
    result = run("allow", "--compose", "compose.yaml", "web", "--secret", "a", "--grant", "two", "--yes")
    bench.expect("allow for a service without a volume", b'volumes: [ "secrets:/run/secrets:ro" ]' in result.stdout and b"does not say as which user" in result.stderr, result)
    result = run("allow", "--compose", "compose.yaml", "web", "--grant", "three", "--yes")
    bench.expect("allow without any secret", result.returncode == 2 and b"--secret NAME" in result.stderr, result)
    stub(model={"name": "${P:-x}", "services": {"web": {}}})
    result = run("allow", "--compose", "compose.yaml", "web", "--secret", "a", "--yes")
    bench.expect("a project's name with a variable", result.returncode == 1 and b"--project-name NAME" in result.stderr, result)


def check_allow_with_old_compose():
    """Compose 1 prints YAML and no project: the directory's name is it."""
    stub(model="services:\n  web:\n    image: x\n    user: '1000'\n    secrets:\n    - source: a\n      mode: 0440\nsecrets:\n  a:\n    file: /x/a\n",
         version="1.29.2", offers="--no-interpolate", name="docker-compose")
    bench.broker.replies = POLICY_ANSWERS
    result = run("allow", "--compose", "compose.yaml", "web", "--grant", "old", "--yes")
    bench.expect("allow with Compose 1", result.returncode == 0 and grant_of("old")["match"]["compose.project"] == PROJECT.name.lower()
                 and grant_of("old")["secrets"] == [{"name": "a", "mode": "0440"}], result)
    bench.expect("allow with Compose 1: what `mayfly compose` needs", b"Next: install Docker Compose 2." in result.stdout, result.stdout)
    result = run("allow", "--compose", "compose.yaml", "web", "--grant", "older", "--yes", "--project-name", "other")
    bench.expect("allow with Compose 1 and a project", grant_of("older")["match"]["compose.project"] == "other", result)
    stub(model="services:\n  web:\n    image: x\n    user: '1000'\n    volumes: ['s:/run/secrets:ro']\nvolumes:\n  s:\n    driver: mayfly\n",
         version="1.29.2", offers="--no-interpolate", name="docker-compose")
    result = run("allow", "--compose", "compose.yaml", "web", "--secret", "a", "--grant", "volume", "--yes")
    bench.expect("allow names the Compose that is here", b"Next: docker-compose -f compose.yaml up -d" in result.stdout, result)


REAL = """
services:
  web:
    image: "shop/web:${TAG:-latest}"
    env_file: web.env
    environment: { PASSWORD: "${KEY}", PRICE: $$5 }
    volumes: [ "${DIR:-./data}:/data:ro", "cache:/cache" ]
    secrets: [ db-password, { source: key, target: keys/k, uid: "1000", mode: 0440 } ]
  job:
    extends: { service: web }
    profiles: [ debug ]
  later:
    image: x
    build: { context: ., secrets: [ npm ] }
secrets: { db-password: { file: ./db.txt }, key: { external: true, name: shop-key }, npm: { file: ./npm } }
volumes: { cache: {} }
"""


def real_run(*words):
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "KEY": CANARY, "MAYFLY_ROOT": str(bench.root)})


def check_with_the_real_compose():
    version = real_run("docker", "compose", "version", "--short")
    if version.returncode != 0:
        print("skipped: there is no `docker compose` here")
        return
    stub()
    (PROJECT / "compose.yaml").write_text(REAL)
    (PROJECT / "web.env").write_text(f"FROM_FILE={CANARY}\n")
    result = real_run(bench.mayfly, "compose", "convert")
    bench.expect("real: convert", result.returncode == 0, result)
    text = (PROJECT / "compose.mayfly.yaml").read_text()
    bench.expect("real: no value in the copy", CANARY not in text and "${KEY}" in text and str(PROJECT) not in text, text)
    models = []
    for words in (["docker", "compose", "-f", "compose.mayfly.yaml"], [bench.mayfly, "compose"]):
        result = real_run(*words, "--profile", "debug", "config", "--format", "json")
        bench.expect(f"real: {words} config", result.returncode == 0, result)
        models.append(json.loads(result.stdout or "{}"))
    bench.expect("real: the copy and the override mean the same", models[0] == models[1], models)
    for service in ("web", "job"):
        parts = models[0]["services"][service]
        bench.expect(f"real: {service} has no secrets", not parts.get("secrets"), parts)
        bench.expect(f"real: {service} has the volume", [v["source"] for v in parts["volumes"] if v["target"] == "/run/secrets"] == [f"mayfly-{service}"], parts)
        bench.expect(f"real: {service} binds what the variable says",
                     [v["type"] for v in parts["volumes"] if v["target"] == "/data"] == ["bind"], parts)
    words = ["--env", "web:A=db-password", "-o", "env.yaml"]
    (PROJECT / "compose.yaml").write_text(REAL.replace("    env_file:", '    entrypoint: "/e -x"\n    env_file:'))
    result = real_run(bench.mayfly, "compose", "convert", *words)
    bench.expect("real: convert --env", result.returncode == 0, result)
    result = real_run("docker", "compose", "-f", "env.yaml", "config", "--format", "json")
    web = json.loads(result.stdout or '{"services": {"web": {}}}')["services"]["web"]
    words = ["/mayfly", "exec", "--env", "A=db-password", "--", "/e", "-x"]
    bench.expect("real: the entry point", web.get("entrypoint") == words, (web, result))
    bind, = [v for v in web.get("volumes", []) if v["target"] == "/mayfly"] or [{}]
    bench.expect("real: the bind", (bind.get("type"), bind.get("read_only")) == ("bind", True)
                 and bind["source"].endswith("/lib/mayfly/exec") and not bind["bind"].get("create_host_path"), web)
    (PROJECT / "compose.yaml").write_text(REAL)
    bench.expect("real: the files", models[0]["volumes"]["mayfly-web"]["driver_opts"]["files"] == "db-password,shop-key=keys/k:uid=1000:mode=0440", models[0])
    bench.broker.replies = POLICY_ANSWERS
    shutil.rmtree(bench.root / "etc", ignore_errors=True)
    for file in ("compose.yaml", "compose.mayfly.yaml"):
        result = real_run(bench.mayfly, "allow", "--compose", file, "web", "--yes", "--grant", file)
        bench.expect(f"real: allow --compose {file}", result.returncode == 0 and [s["name"] for s in grant_of(file)["secrets"]] == ["db-password", "shop-key"]
                     and grant_of(file)["match"]["compose.project"] == PROJECT.name.lower(), result)
    result = real_run(bench.mayfly, "compose", "bogus")
    bench.expect("real: a command that there is not", result.returncode not in (0, 2, 3), result)


for check in [value for name, value in list(globals().items()) if name.startswith("check_")]:
    check()
shutil.rmtree(PROJECT)
bench.finish()
