"""What Mayfly costs, each figure beside its bare limit, in interleaved runs of the same minutes.

Usage: bench.py [NAME...]   NAME: run mount answer open request revoke put memory rotate vault start; without one, all.
Prints a line a figure: what was measured, Mayfly's and the bare median with the spread of the middle half, the bar.
"""
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "engine"))
import harness  # noqa: E402
from harness import BUILD, IMAGE, Engine, Mayfly, grant, run, wait_for  # noqa: E402

PROGRAMS = BUILD / "tests/bench"
SECRETS = [f"secret-{i}" for i in range(5)]
TAG = f"mayfly-be{os.getpid()}"


def spread(values):
    quarters = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.1f} ({quarters[0]:.1f} to {quarters[2]:.1f})"


class Report:
    def __init__(self):
        self.missed = 0

    def line(self, what, measured, bar):
        print(f"  {what}: {measured}  [{bar}]", flush=True)

    def compare(self, what, ours, bare, factor, unit):
        ratio = statistics.median(ours) / statistics.median(bare)
        met = "met" if ratio <= factor else "NOT MET"
        self.missed += ratio > factor
        self.line(what, f"{spread(ours)} {unit}, bare {spread(bare)} {unit}: x {ratio:.2f}",
                  f"<= {factor} x: {met}; {len(ours)} runs")

    def limit(self, what, value, bar, unit, detail=""):
        self.missed += value > bar
        self.line(what, f"{value:.2f} {unit}{detail}", f"<= {bar} {unit}: {'met' if value <= bar else 'NOT MET'}")


class Bench:
    """One engine and one Mayfly for all figures; the engine speaks to it through the relay that times Mount."""

    def __init__(self, names):
        self.names = names
        self.report = Report()
        self.engine = Engine().start()
        self.engine.import_image(extra=self.add_programs)
        self.mayfly = Mayfly([self.engine], [TAG])
        # What is measured is the way of a request, not the share of one container.
        self.mayfly.config["container_socket"] = {"requests_per_second": 1000000, "connections": 10000}
        self.mayfly.write_config()
        self.mayfly.start()
        for secret in SECRETS:
            self.mayfly.mayfly("generate", f"prod/{secret}")
        self.mayfly.policy(grant("bench", {"compose.project": "bench"},
                                 *({"name": secret, "mode": "0444"} for secret in SECRETS)))
        self.volume = self.make_volume(TAG)

    @staticmethod
    def add_programs(root):
        shutil.copy(PROGRAMS / "open_timer", root / "bin/open_timer")
        shutil.copy(BUILD / "tests/engine/varlink_call", root / "bin/call")

    def make_volume(self, driver, name="secrets"):
        self.engine.docker("volume", "create", "-d", driver, name)
        return name

    def close(self):
        self.mayfly.close()
        self.engine.close()

    def docker_run(self, *arguments, detach=False):
        options = ["-d"] if detach else ["--rm"]
        return self.engine.docker("run", *options, "--network", "none", "--label", "com.docker.compose.project=bench",
                                  *arguments)

    def secrets(self):
        return ["-v", f"{self.volume}:/run/secrets:ro"]

    def run(self):
        """`docker run` of true, with five secrets and with a tmpfs."""
        ours, bare = [], []
        for _ in range(32):
            for times, options in ((ours, self.secrets()), (bare, ["--tmpfs", "/run/secrets"])):
                begun = time.monotonic()
                self.docker_run(*options, IMAGE, "true")
                times.append((time.monotonic() - begun) * 1000)
        self.report.compare("docker run with five secrets, and with --tmpfs", ours[2:], bare[2:], 1.05, "ms")

    def mount(self):
        """Mount's answer, timed at the socket; the bare calls and one fdatasync in between."""
        driver = f"{TAG}-timed"
        listening = f"/run/docker/plugins/{driver}.sock"
        relay = subprocess.Popen([PROGRAMS / "plugin_timer", listening, f"/run/docker/plugins/{TAG}.sock"],
                                 stdout=subprocess.PIPE, text=True)
        ours, bare, delivery, sync = [], [], [], []
        try:
            wait_for(lambda: os.path.exists(listening), "the relay listens")
            self.make_volume(driver, "timed")
            for _ in range(42):
                self.docker_run("-v", "timed:/run/secrets:ro", IMAGE, "true")
                ours.append(float(relay.stdout.readline()))
                for line in run(PROGRAMS / "bare_delivery", self.mayfly.root, 5).stdout.splitlines():
                    parts = [float(part) for part in line.split()]
                    delivery.append(parts[0])
                    sync.append(parts[1])
            self.engine.docker("volume", "rm", "timed")
        finally:
            relay.kill()
            relay.wait()
            os.unlink(listening)
        bare = [4 * d + s for d, s in zip(delivery, sync)]
        ours = ours[2:]
        self.report.line("bare calls of a delivery / one fdatasync", f"{spread(delivery)} / {spread(sync)} us", "")
        self.report.compare("Mount answered, and 4 x the bare calls plus one fdatasync", ours, bare, 1.0, "us")

    def answer(self):
        """An open that waits from the container's first instruction, and the engine's `start` event."""
        delays = []
        for _ in range(32):
            since = time.time()
            name = self.docker_run(*self.secrets(), IMAGE, "open_timer", "first", "/run/secrets/secret-0",
                                   detach=True).stdout.strip()
            self.engine.docker("wait", name)
            opened = int(self.engine.docker("logs", name).stdout)
            events = self.engine.docker("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter",
                                        f"container={name}", "--filter", "event=start", "--format", "{{.TimeNano}}")
            delays.append((opened - int(events.stdout)) / 1e6)
            self.engine.docker("rm", name)
        self.report.limit("a waiting open is answered after the start event", statistics.median(delays[2:]), 2.0, "ms",
                          f", {spread(delays[2:])}")

    def open(self):
        """Opens in the container after the retreat: of a secret, and of a file on a tmpfs of its own, with the same links."""
        command = ("cat /run/secrets/secret-0 >/dev/null; sleep 0.3; mkdir /bare/..1; ln -s ..1 /bare/..data; "
                   "echo 0 >/bare/..1/secret-0; ln -s ..data/secret-0 /bare/secret-0; "
                   "open_timer many /run/secrets/secret-0 /bare/secret-0 40")
        result = self.docker_run(*self.secrets(), "--tmpfs", "/bare", IMAGE, "sh", "-c", command)
        rounds = [list(map(float, line.split())) for line in result.stdout.splitlines()]
        self.report.compare("an open and close after the retreat, and of an unguarded file", [r[0] for r in rounds],
                            [r[1] for r in rounds], 1.25, "ns")

    def rates(self, container, answers, bare, what):
        """Calls over one connection, by turns with a bare server that answers the same bytes."""
        ours_us, bare_us = [], []
        for _ in range(6):
            for times, socket, method in ((ours_us, "container.sock", what), (bare_us, "bare.sock", what)):
                result = self.engine.docker("exec", "-e", f"MAYFLY_SOCKET=/run/mayfly/{socket}", container, "call", "--repeat",
                                            "4000", method, "-")
                times += [float(line) for line in result.stdout.splitlines()]
        rate = lambda times: 1e6 * len(times) / sum(times)
        p99 = lambda times: statistics.quantiles(times, n=100)[98]
        ratio = rate(ours_us) / rate(bare_us)
        self.report.missed += ratio < 0.5
        self.report.line(f"{what}: requests a second", f"{rate(ours_us):.0f}, bare {rate(bare_us):.0f}: x {ratio:.2f}",
                         f">= 0.5 x: {'met' if ratio >= 0.5 else 'NOT MET'}; {len(ours_us)} calls each")
        ratio = p99(ours_us) / p99(bare_us)
        self.report.missed += ratio > 2
        self.report.line(f"{what}: p99", f"{p99(ours_us):.0f} us, bare {p99(bare_us):.0f} us: x {ratio:.2f}",
                         f"<= 2 x: {'met' if ratio <= 2 else 'NOT MET'}")

    def request(self):
        directory = self.mayfly.root / "run/mayfly/container"
        name = self.docker_run("-v", f"{directory}:/run/mayfly:ro", IMAGE, "sleep", "600", detach=True).stdout.strip()
        for what in ("WhoAmI", "Request"):
            self.engine.docker("exec", name, "call", what, "-")
            answer = self.engine.docker("exec", name, "call", what, "-").stdout.rstrip("\n").encode() + b"\0"
            (self.mayfly.root / "answer").write_bytes(answer)
            bare = subprocess.Popen([PROGRAMS / "bare_server", directory / "bare.sock", self.mayfly.root / "answer"])
            try:
                wait_for(lambda: (directory / "bare.sock").exists(), "the bare server listens")
                self.rates(name, answer, bare, what)
            finally:
                bare.kill()
                bare.wait()
                (directory / "bare.sock").unlink()
        self.first_request(name)
        self.idle_connections(name)
        self.engine.docker("rm", "-f", name)

    def first_request(self, name):
        """By turns: five secrets into a running container, and the same by the bare calls."""
        ours, bare = [], []
        pid = self.engine.inspect(name, ".State.Pid")
        for _ in range(5):
            ours += map(float, self.engine.docker("exec", name, "call", "--cycle", "20").stdout.split())
            lines = run(PROGRAMS / "bare_delivery", self.mayfly.root, 20, pid).stdout.splitlines()
            bare += [float(line.split()[0]) for line in lines]
        self.report.compare("a first Request of five secrets, and the bare calls", ours, bare, 3.0, "us")

    def idle_connections(self, name):
        count = 10000
        pid = self.mayfly.child("mayfly-broker")
        anonymous = lambda: int(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss_Anon:")[1].split()[0])
        before = anonymous()
        holder = subprocess.Popen(["docker", "-H", f"unix://{self.engine.socket}", "exec", "-i", name, "call", "--idle", str(count)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "open\n"
        time.sleep(1)
        self.report.limit(f"memory for each of {count} idle connections", (anonymous() - before) / count, 4, "KiB")
        holder.communicate()

    def revoke(self):
        """1,000 leases of five secrets, `revoke --all` from the call to its answer; and as many tmpfs in a bare loop.
        Of five containers that have asked for them: a volume's delivery has nothing to leave in its container."""
        containers, each = 5, 200
        directory = self.mayfly.root / "run/mayfly/container"
        self.mayfly.policy(*(grant(f"bench-{i}", {"compose.project": "bench"}, *({"name": s, "as": f"{s}-{i}", "mode": "0444"} for s in SECRETS),
                                   target=f"/run/leased/{i}") for i in range(each)))
        names = [self.docker_run("-v", f"{directory}:/run/mayfly:ro", IMAGE, "sleep", "600", detach=True).stdout.strip()
                 for _ in range(containers)]
        ours, bare = [], []
        for _ in range(3):
            for name in names:
                calls = [word for i in range(each) for word in ("Request", f'{{"grant":"bench-{i}"}}')]
                self.engine.docker("exec", name, "call", *calls, timeout=300)
            assert self.mayfly.status()["released"] == containers * each
            begun = time.monotonic()
            assert self.mayfly.call("Revoke", all=True)["revoked"] == containers * each
            ours.append((time.monotonic() - begun) * 1000)
            bare.append(float(run(PROGRAMS / "bare_delivery", self.mayfly.root, containers * each, "wipe").stdout) / 1000)
        self.report.compare(f"revocation of {containers * each} leases, and the bare wipe loop", ours, bare, 2.0, "ms")
        self.engine.docker("rm", "-f", *names)

    def put(self):
        directory = self.mayfly.root / "bench"
        directory.mkdir()
        lines = run(PROGRAMS / "put_bench", self.mayfly.root, directory, 500).stdout.splitlines()
        shutil.rmtree(directory)
        put, commit, append = zip(*(map(float, line.split()) for line in lines))
        bare = [c + a for c, a in zip(commit, append)]
        self.report.line("bare SQLite commit / one append and fdatasync", f"{spread(commit)} / {spread(append)} us", "")
        self.report.compare("durable put through the socket, and a bare commit plus one sync", put, bare, 1.3, "us")

    def proportional_kib(self):
        """PSS of all our processes, without the arena: its pages hold values only while they are at work."""
        total = 0
        for pid in harness.processes_below(self.mayfly.process.pid):
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0])
        return total

    def start_containers(self, count):
        for first in range(0, count, 5):
            started = [subprocess.Popen(
                ["docker", "-H", f"unix://{self.engine.socket}", "run", "-d", "--network", "none", "--label",
                 "com.docker.compose.project=bench", *self.secrets(), IMAGE, "sh", "-c",
                 "cat /run/secrets/secret-0; sleep 600"], stdout=subprocess.DEVNULL) for _ in range(min(5, count - first))]
            for process in started:
                process.wait()

    def memory(self):
        """What a delivery adds is the slope between some and many: the first ones fill caches that are bounded."""
        time.sleep(1)
        idle = self.proportional_kib()
        self.report.limit("idle memory of all processes (PSS)", idle / 1024, 14, "MiB")
        figures = {}
        for some, more in ((30, 30), (100, 70)):
            self.start_containers(more)
            wait_for(lambda: self.mayfly.status()["released"] == some, "all are released", 60)
            time.sleep(1)
            figures[some] = self.proportional_kib()
        self.report.limit("memory for each delivery beside its tmpfs", (figures[100] - figures[30]) / 70, 2, "KiB",
                          f", between 30 and 100 deliveries; {figures[100] / 1024:.1f} MiB with 100")
        self.engine.remove_containers()

    def rotation(self):
        """From a rotation's acknowledgement to the last container that has it: seconds."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(str(self.mayfly.root / "run/mayfly/operator.sock"))
            connection.sendall(json.dumps({"method": "org.mayfly.Operator.Rotate", "more": True, "parameters": {
                "names": ["prod/secret-0"]}}).encode() + b"\0")
            begun = last = None
            for line in iter(lambda: self.message(connection), None):
                event = line["parameters"]["event"]
                begun = time.monotonic() if event == "begun" else begun
                last = time.monotonic() if event == "container" else last
                if event == "over":
                    return last - begun
        return None

    @staticmethod
    def message(connection, buffer=bytearray()):
        while b"\0" not in buffer:
            part = connection.recv(65536)
            if not part:
                return None
            buffer.extend(part)
        end = buffer.index(b"\0")
        text = bytes(buffer[:end])
        del buffer[:end + 1]
        return json.loads(text)

    def rotate(self):
        """One secret in many containers, beside a bare loop over as many tmpfs; and in one container."""
        for count, rounds in ((1, 12), (int(os.environ.get("MAYFLY_BENCH_CONTAINERS", "100")), 5)):
            self.start_containers(count)
            wait_for(lambda n=count: self.mayfly.status()["released"] == n, "all are released", 120)
            ours, bare = [], []
            for _ in range(rounds):
                self.mayfly.call("Prepare", name="prod/secret-0", generate=True)
                ours.append(self.rotation() * 1000)
                bare += map(float, run(PROGRAMS / "bare_rotation", count, 1).stdout.split())
                time.sleep(0.3)
            if count == 1:
                self.report.limit("one container has the new value", statistics.median(ours), 5, "ms", f", {spread(ours)}")
            else:
                self.report.compare(f"{count} containers have the new value, and a bare loop over {count} tmpfs", ours, bare, 1.5, "ms")
            self.engine.remove_containers()

    def vault(self):
        """A set on a server (tests/vault, in this process): readings by the provider alone, then 200 containers."""
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vault"))
        os.environ["MAYFLY_PROVIDER_DRIVER"] = str(BUILD / "tests/vault/provider_driver")
        import vault_bench
        for line in vault_bench.readings():
            self.report.line(*line)
        for line in vault_bench.containers(self.engine, TAG + "-v", 200):
            self.report.line(*line)
        self.engine.remove_containers()

    def start(self):
        """From exec to ready with 100,000 secrets; mayflyd's own word on its log is the end."""
        count = 100000
        self.mayfly.stop()
        state = self.mayfly.root / "var/lib/mayfly"
        run(PROGRAMS / "fill_store", state, self.mayfly.root / "etc/mayfly/host.key", count, timeout=600)
        for path in state.glob("store.db*"):
            shutil.chown(path, harness.USER)
        times = []
        for _ in range(7):
            log = self.mayfly.root / "mayflyd.log"
            already = log.stat().st_size
            begun = time.monotonic()
            self.mayfly.start(wait=False)
            wait_for(lambda: b"ready" in log.read_bytes()[already:], "ready", 30, 0.001)
            times.append((time.monotonic() - begun) * 1000)
            self.mayfly.wait_ready()
            assert self.mayfly.status()["secrets"] >= count
            self.mayfly.stop()
        self.report.limit(f"start with {count} secrets", statistics.median(times), 150, "ms", f", {spread(times)}")

    def all(self):
        for name in self.names:
            print(f"{name}:", flush=True)
            getattr(self, name)()


def main(names):
    bench = Bench(names or ["run", "mount", "answer", "open", "request", "revoke", "put", "memory", "rotate", "vault", "start"])
    try:
        bench.all()
    finally:
        bench.close()
    print(f"{bench.report.missed} figures are not met")
    return 0


sys.exit(main(sys.argv[1:]))
