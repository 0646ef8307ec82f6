"""What Mayfly costs, each figure beside its bare limit, in interleaved runs of the same minutes.

Usage: bench.py [NAME...]   NAME: run mount answer open put memory vault start; without one, all.
Prints a line a figure: what was measured, Mayfly's and the bare median with the spread of the middle half, the bar.
"""
import os
import pathlib
import shutil
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
        self.engine.import_image(extra=lambda root: shutil.copy(PROGRAMS / "open_timer", root / "bin/open_timer"))
        self.mayfly = Mayfly([self.engine], [TAG]).start()
        for secret in SECRETS:
            self.mayfly.mayfly("generate", f"prod/{secret}")
        self.mayfly.policy(grant("bench", {"compose.project": "bench"},
                                 *({"name": secret, "mode": "0444"} for secret in SECRETS)))
        self.volume = self.make_volume(TAG)

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
        for _ in range(0, count, 5):
            started = [subprocess.Popen(
                ["docker", "-H", f"unix://{self.engine.socket}", "run", "-d", "--network", "none", "--label",
                 "com.docker.compose.project=bench", *self.secrets(), IMAGE, "sh", "-c",
                 "cat /run/secrets/secret-0; sleep 600"], stdout=subprocess.DEVNULL) for _ in range(5)]
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
    bench = Bench(names or ["run", "mount", "answer", "open", "put", "memory", "vault", "start"])
    try:
        bench.all()
    finally:
        bench.close()
    print(f"{bench.report.missed} figures are not met")
    return 0


sys.exit(main(sys.argv[1:]))
